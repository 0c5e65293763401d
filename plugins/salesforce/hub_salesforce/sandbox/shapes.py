"""The sandbox's sObjects, and `describe` as Salesforce tells it."""

from dataclasses import dataclass, field, replace
from typing import Any

from hub_salesforce.sandbox.fields import FIELDS, PERSON

PREFIX = {
    "Organization": "00D", "Profile": "00e", "Group": "00G", "Product2": "01t", "User": "005", "Account": "001",
    "Contact": "003", "Case": "500", "CaseComment": "00a", "EmailMessage": "02s", "Order": "801", "OrderItem": "802",
    "Topic": "0TO", "TopicAssignment": "0TA",
}  # fmt: skip
_SOAP = {
    "id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "datetime": "xsd:dateTime", "date": "xsd:date",
    "double": "xsd:double", "currency": "xsd:double", "int": "xsd:int", "address": "urn:address",
}  # fmt: skip
_LENGTH = {
    "id": 18,
    "reference": 18,
    "textarea": 32000,
    "picklist": 255,
    "string": 255,
    "email": 80,
    "phone": 40,
    "url": 255,
}
_EXACT = {"MailingStreet": 255, "BillingStreet": 255, "ShippingStreet": 255, "OtherStreet": 255, "CommentBody": 4000}


@dataclass
class Column:
    """A field of an sObject of this org."""

    name: str
    type: str
    targets: tuple[str, ...] = ()
    relation: str | None = None
    children: str | None = None
    values: tuple[str, ...] = ()
    createable: bool = False
    updateable: bool = False
    unique: bool = False
    required: bool = False
    long: bool = False

    @property
    def length(self) -> int:
        return _EXACT.get(self.name, _LENGTH.get(self.type, 0))

    def describe(self) -> dict[str, Any]:
        """Tell of this field with all the keys that Salesforce's own answer has."""
        told: dict[str, Any] = dict.fromkeys(_TEXTS)
        told |= dict.fromkeys(_FLAGS, False) | {"byteLength": self.length * 3, "digits": 0, "precision": 0, "scale": 0}
        told |= {"picklistValues": [_choice(v, n == 0) for n, v in enumerate(self.values)]}
        return told | {
            "name": self.name,
            "label": self.name,
            "type": self.type,
            "length": self.length,
            "soapType": _SOAP.get(self.type, "xsd:string"),
            "referenceTo": list(self.targets),
            "relationshipName": self.relation,
            "polymorphicForeignKey": len(self.targets) > 1,
            "namePointing": len(self.targets) > 1,
            "createable": self.createable,
            "updateable": self.updateable,
            "custom": self.name.endswith("c") and "__" in self.name,
            "externalId": self.unique,
            "unique": self.unique,
            "idLookup": self.unique or self.name == "Id",
            "nillable": not self.required and self.type not in ("id", "boolean"),
            "filterable": not self.long,
            "sortable": not self.long,
            "nameField": self.name == "Name",
            "aggregatable": not self.long,
        }


_TEXTS = (
    "calculatedFormula compoundFieldName controllerName defaultValue defaultValueFormula extraTypeInfo "
    "filteredLookupInfo inlineHelpText mask maskType referenceTargetField relationshipOrder"
).split()
_FLAGS = (
    "aiPredictionField autoNumber calculated cascadeDelete caseSensitive defaultedOnCreate dependentPicklist "
    "deprecatedAndHidden displayLocationInDecimal encrypted formulaTreatNullNumberAsZero groupable highScaleNumber "
    "htmlFormatted permissionable queryByDistance restrictedDelete restrictedPicklist searchPrefilterable "
    "writeRequiresMasterRead"
).split()


def _choice(value: str, default: bool) -> dict[str, Any]:
    return {"active": True, "defaultValue": default, "label": value, "validFor": None, "value": value}


@dataclass
class Shape:
    """An sObject of this org."""

    name: str
    columns: dict[str, Column] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return PREFIX[self.name]

    def relation(self, name: str) -> Column | None:
        return next((c for c in self.columns.values() if c.relation and c.relation.lower() == name.lower()), None)

    def column(self, name: str) -> Column | None:
        """Find a column; SOQL does not look at the case of names."""
        return self.columns.get(name) or next(
            (c for c in self.columns.values() if c.name.lower() == name.lower()), None
        )


def org(*, person_accounts: bool = True, multi_currency: bool = True) -> dict[str, Shape]:
    """Make the sObjects of an org, each with its fields."""
    found = {}
    for name, text in FIELDS.items():
        lines = (text + (PERSON.get(name, "") if person_accounts else "")).split("\n")
        columns = {c.name: c for line in lines if line.strip() for c in [_column(line)]}
        if not multi_currency:
            columns.pop("CurrencyIsoCode", None)
        found[name] = Shape(name, columns)
    return found


def _column(line: str) -> Column:
    name, rest = line.split(" ", 1)
    words = rest.rsplit(" ", 1)
    flags = words[1] if len(words) == 2 and set(words[1]) <= set("wcxrl") else ""
    kind, _, detail = (words[0] if flags else rest).partition(":")
    made = Column(name, kind, required="r" in flags, unique="x" in flags, long="l" in flags)
    made.createable, made.updateable = bool(set("wc") & set(flags)), "w" in flags
    if kind == "ref":
        targets, relation, children = [*detail.split(":"), ""][:3]
        return replace(
            made, type="reference", targets=tuple(targets.split(",")), relation=relation, children=children or None
        )
    return replace(made, values=tuple(detail.split("|"))) if detail else made


def describe(shapes: dict[str, Shape], name: str, version: str) -> dict[str, Any]:
    """Answer `describe` of one sObject."""
    shape = shapes[name]
    children: list[dict[str, Any]] = [
        {
            "cascadeDelete": False, "childSObject": other.name, "deprecatedAndHidden": False, "field": column.name,
            "junctionIdListNames": [], "junctionReferenceTo": [], "relationshipName": column.children,
            "restrictedDelete": False,
        }
        for other in shapes.values()
        for column in other.columns.values()
        if name in column.targets
    ]  # fmt: skip
    return {
        "actionOverrides": [],
        "childRelationships": children,
        "compactLayoutable": True,
        "defaultImplementation": None,
        "extendedBy": None,
        "extendsInterfaces": None,
        "fields": [column.describe() for column in shape.columns.values()],
        "implementedBy": None,
        "implementsInterfaces": None,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [],
        "searchLayoutable": True,
        "supportedScopes": [{"label": f"All {name}", "name": "everything"}],
        **summary(name, version),
    }


def summary(name: str, version: str) -> dict[str, Any]:
    """Tell of an sObject as the list of all of them does."""
    root = f"/services/data/v{version}/sobjects/{name}"
    flags = (
        "activateable custom customSetting deepCloneable deprecatedAndHidden hasSubtypes isInterface isSubtype"
    ).split()
    able = (
        "createable deletable feedEnabled layoutable mergeable mruEnabled queryable replicateable retrieveable "
        "searchable triggerable undeletable updateable"
    ).split()
    return {
        **dict.fromkeys(flags, False),
        **dict.fromkeys(able, True),
        "keyPrefix": PREFIX[name],
        "label": name,
        "labelPlural": f"{name}s",
        "name": name,
        "urls": {"sobject": root, "describe": f"{root}/describe", "rowTemplate": root + "/{ID}"},
    }


def record_id(prefix: str, number: int) -> str:
    """Make an 18-character id; the last three say which letters of the first fifteen are capitals."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, digit = divmod(number, 62)
        text = digits[digit] + text
    short = f"{prefix}Hb00000{text.rjust(5, '0')}"
    return short + checksum(short)


def checksum(short: str) -> str:
    """Give the three characters that make an id of fifteen safe where case is lost."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    parts = (short[at : at + 5] for at in (0, 5, 10))
    return "".join(letters[sum(1 << n for n, char in enumerate(part) if char.isupper())] for part in parts)
