"""For tests of plugins: ConnectorSuite to inherit, and a Case to drive a connector on its sandbox by hand."""

from hub.testing.case import SAMPLES, Case, Pulled, case_for
from hub.testing.suite import ConnectorSuite

__all__ = ["SAMPLES", "Case", "ConnectorSuite", "Pulled", "case_for"]
