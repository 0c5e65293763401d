"""What each vendor sends, in the shapes of its own reference, and what the unified record must say; both by hand."""

from typing import Any

import pytest

import hub_salesforce
import hub_stripe
import hub_zendesk
from hub.mapping import CompiledMapping, compile_mapping, locate, preview
from hub_salesforce.connector import SalesforceConnector
from hub_stripe.connector import StripeConnector
from hub_zendesk.connector import ZendeskConnector

Json = dict[str, Any]
PLUGINS: dict[str, tuple[Any, Any]] = {
    "zendesk": (ZendeskConnector, hub_zendesk),
    "stripe": (StripeConnector, hub_stripe),
    "salesforce": (SalesforceConnector, hub_salesforce),
}

# fmt: off
ZENDESK: list[tuple[str, Json, str, Json]] = [
    ("users", {
        "id": 9007199254740993, "url": "https://acme.zendesk.com/api/v2/users/9007199254740993.json",
        "name": "Jürgen von der Heide", "email": "J.Heide@Example.COM", "role": "end-user", "active": True,
        "suspended": True, "verified": False, "phone": "+49 30 1234567", "shared_phone_number": False,
        "locale": "pt-br", "iana_time_zone": "America/Sao_Paulo", "time_zone": "Brasilia", "external_id": "C-17",
        "organization_id": 360001, "notes": None, "details": "pays late", "tags": ["vip"],
        "last_login_at": "2026-10-01T06:00:00Z", "created_at": "2024-02-29T23:59:59Z",
        "updated_at": "2026-11-02T10:00:00Z", "user_fields": {"tier": None},
    }, "users", {
        "remote_id": "9007199254740993", "display_name": "Jürgen von der Heide", "given_name": "Jürgen",
        "family_name": "von der Heide", "email": "j.heide@example.com", "phone": "+49301234567", "language": "pt-BR",
        "timezone": "America/Sao_Paulo", "external_ref": "C-17", "status": "suspended", "is_blocked": True,
        "verified_email": False, "notes": "pays late", "tags": ["vip"], "last_seen_at": "2026-10-01T06:00:00Z",
        "account_ref": {"table": "organizations", "remote_id": "360001"},
        "url": "https://acme.zendesk.com/agent/users/9007199254740993", "created_at": "2024-02-29T23:59:59Z",
    }),
    ("users", {"id": 7, "name": "Madonna", "email": None, "role": "end-user", "active": True, "suspended": False,
               "time_zone": "Pacific Time (US & Canada)"},
     "users", {"timezone": "America/Los_Angeles", "given_name": "Madonna",
               "family_name": None, "email": None, "status": "active", "url": None}),
    ("users", {"id": 8, "name": "Gone", "role": "end-user", "active": False, "suspended": True, "email": None},
     "users", {"status": "archived"}),
    ("users", {"id": 9, "name": "Ada King", "role": "admin", "active": True, "email": "ADA@acme.example"},
     "agents", {"display_name": "Ada King", "role": "admin", "email": "ada@acme.example", "is_active": True}),
    ("tickets", {
        "id": 35436, "url": "https://acme.zendesk.com/api/v2/tickets/35436.json", "external_id": "ahg35h3jh",
        "via": {"channel": "whatsapp", "source": {"from": {"phone": "+1"}, "to": {}, "rel": None}}, "type": "incident",
        "subject": "Help, my 🖨 is on fire!", "raw_subject": "{{dc.printer}}", "description": "It burns.",
        "priority": "urgent", "status": "hold", "custom_status_id": 123, "requester_id": 20978392,
        "submitter_id": 76872,
        "assignee_id": 235323, "organization_id": 509974, "group_id": 98738, "collaborator_ids": [35334],
        "follower_ids": [35334], "email_cc_ids": [35335], "problem_id": 9873764, "has_incidents": False,
        "due_at": "2026-12-24T12:00:00Z", "tags": ["enterprise", "other_tag"], "brand_id": 47, "ticket_form_id": 12,
        "satisfaction_rating": {"id": 1234, "score": "bad", "comment": "slow", "reason": None},
        "created_at": "2026-07-20T22:55:29Z", "updated_at": "2026-08-05T10:38:52Z",
        "metric_set": {"solved_at": None, "reply_time_in_minutes": {"calendar": 65, "business": 5}},
    }, "tickets", {
        "number": "35436", "external_ref": "ahg35h3jh", "subject": "Help, my 🖨 is on fire!", "description": "It burns.",
        "status": "on_hold", "status_raw": "hold", "priority": "urgent", "type": "incident", "channel": "messaging",
        "channel_raw": "whatsapp", "customer_ref": {"table": "users", "remote_id": "20978392"},
        "assignee_ref": {"table": "users", "remote_id": "235323"}, "group_ref": "98738", "cc": ["35335"],
        "account_ref": {"table": "organizations", "remote_id": "509974"}, "tags": ["enterprise", "other_tag"],
        "parent_ref": {"table": "tickets", "remote_id": "9873764"}, "due_at": "2026-12-24T12:00:00Z", "brand": "47",
        "first_response_at": "2026-07-21T00:00:29Z", "solved_at": None, "form": "12",
        "satisfaction": {"score": "bad", "comment": "slow"}, "version": "2026-08-05T10:38:52Z",
        "url": "https://acme.zendesk.com/agent/tickets/35436",
    }),
    ("tickets", {"id": 1, "status": "solved", "priority": None, "type": None, "via": {"channel": "carrier_pigeon"},
                 "requester_id": -1, "satisfaction_rating": None, "subject": None, "raw_subject": "Hi",
                 "metric_set": {"solved_at": "2026-11-02T10:00:00Z", "reply_time_in_minutes": {"calendar": None}}},
     "tickets", {"status": "solved", "priority": "none", "type": "none", "channel": "unknown", "subject": "Hi",
                 "solved_at": "2026-11-02T10:00:00Z", "first_response_at": None,
                 "channel_raw": "carrier_pigeon", "satisfaction": None}),
    ("comments", {
        "id": 5, "type": "Comment", "ticket_id": 35436, "author_id": 20978392, "author_role": "end-user",
        "public": True,
        "body": "**Thanks**", "plain_body": "Thanks", "html_body": "<b>Thanks</b>",
        "created_at": "2026-07-21T08:00:00Z",
        "via": {"channel": "email", "source": {"from": {"address": "Pat@Example.com", "name": "Pat Doe"},
                                               "to": {"address": "help@acme.example", "name": "Acme"}, "rel": None}},
        "attachments": [{"id": 77, "file_name": "a.png", "content_type": "image/png", "size": 2532,
                         "content_url": "https://acme.zendesk.com/attachments/token/x/?name=a.png"}],
    }, "comments", {
        "visibility": "public", "direction": "inbound", "channel": "email", "body_text": "Thanks",
        "body_html": "<b>Thanks</b>", "ticket_ref": {"table": "tickets", "remote_id": "35436"},
        "to": ["help@acme.example"],
        "author": {"type": "customer", "type_raw": "end-user", "ref": {"table": "users", "remote_id": "20978392"},
                   "name": "Pat Doe", "email": "pat@example.com"},
        "attachments": [{"remote_id": "77", "file_name": "a.png", "content_type": "image/png", "size": 2532,
                         "url": "https://acme.zendesk.com/attachments/token/x/?name=a.png"}],
    }),
    ("comments", {"id": 6, "ticket_id": 1, "author_id": 4, "author_role": "agent", "public": False, "body": "a note"},
     "comments", {"visibility": "internal", "direction": "outbound", "body_text": "a note", "attachments": None}),
    ("comments", {"id": 7, "ticket_id": 1, "author_id": -1, "author_role": "system", "public": None},
     "comments", {"visibility": "internal", "direction": "system"}),
    ("organizations", {"id": 4, "name": "Acme", "domain_names": ["acme.example"], "deleted_at": None, "notes": "",
                       "details": "big", "external_id": None, "tags": [], "organization_fields": {},
                       "url": "https://acme.zendesk.com/api/v2/organizations/4.json"},
     "organizations", {"name": "Acme", "domains": ["acme.example"], "notes": "big",
                       "url": "https://acme.zendesk.com/agent/organizations/4"}),
]

CHARGE: Json = {
    "id": "ch_1", "object": "charge", "amount": 1099, "amount_captured": 1099, "amount_refunded": 99, "captured": True,
    "created": 1767225600, "currency": "eur", "disputed": True, "status": "succeeded", "failure_code": None,
    "outcome": {"risk_level": "elevated", "risk_score": 66}, "receipt_number": "1234-5678",
    "receipt_url": "https://pay.stripe.com/receipts/x", "calculated_statement_descriptor": "ACME* SHOP",
    "payment_method_details": {"type": "card", "card": {"brand": "visa", "last4": "4242", "exp_month": 8,
                                                        "exp_year": 2030, "wallet": {"type": "apple_pay"}}},
}
INTENT: Json = {"id": "pi_1", "object": "payment_intent", "created": 1767225590, "capture_method": "automatic_async"}
STRIPE: list[tuple[str, Json, str, Json]] = [
    ("payment_intents", {
        **INTENT, "amount": 1099, "amount_received": 1099, "currency": "eur", "status": "succeeded", "description": "A",
        "customer": {"id": "cus_9", "object": "customer"}, "latest_charge": CHARGE, "metadata": {"order_id": "SO-1"},
        "payment_details": {"order_reference": "in_1SOMc9"},
        "disputes": {"data": [{"id": "dp_1", "amount": 1099, "currency": "eur", "reason": "fraudulent",
                               "status": "warning_closed", "is_charge_refundable": False,
                               "evidence_details": {"due_by": 1767312000}}]},
    }, "payment_intents", {
        "charge_id": "ch_1", "number": "1234-5678", "customer_ref": {"table": "customers", "remote_id": "cus_9"},
        "amount": {"amount": 1099, "currency": "EUR"}, "amount_captured": {"amount": 1099, "currency": "EUR"},
        "amount_refunded": {"amount": 99, "currency": "EUR"}, "currency": "EUR", "status": "succeeded",
        "order_ref": {"kind": "order", "by": "number", "value": "SO-1"}, "created_at": "2025-12-31T23:59:50Z",
        "authorized_at": "2026-01-01T00:00:00Z", "captured_at": "2026-01-01T00:00:00Z", "disputed": True,
        "statement_descriptor": "ACME* SHOP", "risk": {"level": "elevated", "score": 66},
        "method": {"type": "card", "brand": "visa", "last4": "4242", "exp_month": 8, "exp_year": 2030,
                   "wallet": "apple_pay"},
        "disputes": [{"remote_id": "dp_1", "amount": {"amount": 1099, "currency": "EUR"}, "reason": "fraudulent",
                      "status": "won", "status_raw": "warning_closed", "evidence_due_at": "2026-01-02T00:00:00Z",
                      "is_refundable": False}],
    }),
    ("payment_intents", {**INTENT, "amount": 5000, "currency": "jpy", "status": "requires_capture", "customer": "cus_1",
                         "capture_method": "manual", "latest_charge": {**CHARGE, "captured": False,
                         "amount_captured": 0},
                         "payment_details": {"order_reference": "A-9"}},
     "payment_intents", {"amount": {"amount": 5000, "currency": "JPY"}, "status": "authorized", "captured_at": None,
                         "authorized_at": "2026-01-01T00:00:00Z", "amount_captured": {"amount": 0, "currency": "JPY"},
                         "order_ref": {"kind": "order", "by": "number", "value": "A-9"}}),
    ("payment_intents", {**INTENT, "amount": 12345, "currency": "kwd", "status": "canceled", "latest_charge": "ch_7",
                         "customer": None, "capture_method": "manual"},
     "payment_intents", {"amount": {"amount": 12345, "currency": "KWD"}, "status": "canceled", "charge_id": "ch_7",
                         "customer_ref": None, "captured_at": None, "order_ref": None, "method": None}),
    ("payment_intents", {**INTENT, "amount": 500, "currency": "mga", "status": "processing", "latest_charge": None},
     "payment_intents", {"amount": {"amount": 50000, "currency": "MGA"}, "status": "pending", "charge_id": None}),
    ("payment_intents", {**INTENT, "amount": 1099, "currency": "usd", "status": "requires_payment_method",
                         "latest_charge": {"id": "ch_2", "status": "failed", "failure_code": "card_declined",
                                           "failure_message": "Your card was declined.", "created": 1767225600,
                                           "outcome": {"network_decline_code": "51", "advice_code": "try_again_later"}},
                         "last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds"}},
     "payment_intents", {"status": "requires_action", "authorized_at": None, "captured_at": None,
                         "failure": {"code": "card_declined", "decline_code": "insufficient_funds",
                                     "message": "Your card was declined.", "advice": "try_again_later"}}),
    ("payment_intents", {**INTENT, "amount": 100, "currency": "usd", "status": "a_new_word"},
     "payment_intents", {"status": "unknown", "status_raw": "a_new_word"}),
    ("refunds", {"id": "re_1", "object": "refund", "amount": 1500, "currency": "isk", "status": "pending",
                 "payment_intent": {"id": "pi_4", "object": "payment_intent"}, "reason": "requested_by_customer",
                 "metadata": {"hub_reason": "damaged", "hub_note": "leg broken", "order_number": "SO-2"},
                 "destination_details": {"type": "customer_cash_balance"}, "pending_reason": "processing",
                 "created": 1767225600},
     "refunds", {"amount": {"amount": 15, "currency": "ISK"}, "status": "pending", "reason": "damaged",
                 "reason_note": "leg broken", "destination": "store_credit", "arrived_hint": "processing",
                 "payment_ref": {"table": "payment_intents", "remote_id": "pi_4"},
                 "order_ref": {"kind": "order", "by": "number", "value": "SO-2"},
                 "created_at": "2026-01-01T00:00:00Z"}),
    ("subscriptions", {  # as of 2026
        "id": "sub_1", "status": "active", "currency": "usd", "customer": "cus_1", "cancel_at_period_end": True,
        "cancel_at": 1769904000, "start_date": 1767225600, "created": 1767225600, "trial_end": None,
        "collection_method": "send_invoice", "pause_collection": None, "discounts": ["di_1"],
        "cancellation_details": {"reason": "cancellation_requested", "feedback": "too_expensive", "comment": "bye"},
        "default_payment_method": {"type": "sepa_debit", "sepa_debit": {"last4": "3000"}},
        "latest_invoice": {"id": "in_1", "status": "open"},
        "items": {"data": [
            {"id": "si_1", "quantity": 3, "current_period_start": 1767225600, "current_period_end": 1769904000,
             "price": {"id": "price_1", "product": "prod_1", "nickname": "Seats", "unit_amount": 1250,
             "currency": "usd",
                       "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}}},
            {"id": "si_2", "quantity": 1, "current_period_start": 1767225600, "current_period_end": 1769904000,
             "price": {"id": "price_2", "product": {"id": "prod_2", "name": "Desk"}, "nickname": None,
             "currency": "usd",
                       "unit_amount": 500,
                       "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}}},
        ]},
    }, "subscriptions", {
        "status": "active", "cancel_at_period_end": True, "cancel_at": "2026-02-01T00:00:00Z", "name": "Seats",
        "amount_per_period": {"amount": 4250, "currency": "USD"}, "next_billing_at": None, "discounts": ["di_1"],
        "current_period_start": "2026-01-01T00:00:00Z", "current_period_end": "2026-02-01T00:00:00Z",
        "last_payment_status": "open", "collection": "send_invoice", "started_at": "2026-01-01T00:00:00Z",
        "cancellation": {"reason": "cancellation_requested", "feedback": "too_expensive", "comment": "bye"},
        "payment_method": {"type": "sepa_debit", "brand": None, "last4": "3000", "exp_month": None, "exp_year": None,
                           "wallet": None},
    }),
    ("subscriptions", {  # as of 2014: one plan, no items
        "id": "sub_2", "status": "past_due", "customer": "cus_1", "quantity": 2, "start": 1388534400,
        "current_period_start": 1388534400, "current_period_end": 1391212800, "cancel_at_period_end": False,
        "plan": {"id": "gold", "name": "Gold", "amount": 2000, "currency": "gbp", "interval": "month",
                 "interval_count": 1}, "discount": None, "created": None,
    }, "subscriptions", {
        "status": "past_due", "currency": "GBP", "started_at": "2014-01-01T00:00:00Z",
        "current_period_end": "2014-02-01T00:00:00Z", "next_billing_at": "2014-02-01T00:00:00Z", "created_at": None,
        "name": "Gold", "amount_per_period": {"amount": 4000, "currency": "GBP"},
    }),
    ("customers", {
        "id": "cus_1", "object": "customer", "name": "Grace Hopper", "email": "Grace@Navy.example",
        "phone": "+15551230000",
        "address": {"line1": "1 Main St", "line2": "", "city": "Arlington", "state": "VA", "postal_code": "22202",
                    "country": "US"},
        "shipping": {"name": "G. Hopper", "phone": None, "address": {"line1": "2 Dock", "country": "de"}},
        "preferred_locales": ["en-GB", "de"], "balance": -500, "currency": "usd", "delinquent": True,
        "metadata": {"hub_customer_id": "C-17"}, "created": 1767225600, "description": None,
        "invoice_settings": {"default_payment_method": "pm_1"},
    }, "customers", {
        "display_name": "Grace Hopper", "given_name": "Grace", "family_name": "Hopper", "email": "grace@navy.example",
        "billing_balance": {"amount": -500, "currency": "USD"}, "billing_delinquent": True, "external_ref": "C-17",
        "language": "en-GB", "status": "active", "default_payment_method": None, "phone": "+15551230000",
    }),
    ("customers", {"id": "cus_2", "invoice_settings": None, "default_source": {
        "id": "card_1", "object": "card", "brand": "Visa", "last4": "4242", "exp_month": 4, "exp_year": 2024}},
     "customers", {"display_name": None, "given_name": None, "default_payment_method": {
         "type": "card", "brand": "Visa", "last4": "4242", "exp_month": 4, "exp_year": 2024, "wallet": None}}),
]

SALESFORCE: list[tuple[str, Json, str, Json]] = [
    ("Contact", {
        "attributes": {"type": "Contact", "url": "/services/data/v61.0/sobjects/Contact/0035e00000A1bCdAAJ"},
        "Id": "0035e00000A1bCdAAJ", "IsDeleted": False, "FirstName": "Zoë", "LastName": "Müller", "Name": "Zoë Müller",
        "Salutation": "Dr.", "Email": "Zoe.Mueller@Example.com", "Phone": "+49 89 123456", "MobilePhone": None,
        "HomePhone": None, "OtherPhone": "+49 89 999999", "Title": "CFO", "AccountId": "0015e00000XyZabAAF",
        "MailingStreet": "Hauptstr. 1\r\nHinterhaus", "MailingCity": "München", "MailingState": "Bavaria",
        "MailingPostalCode": "80331", "MailingCountry": "Germany", "IsEmailBounced": True, "HasOptedOutOfEmail": True,
        "DoNotCall": False, "LeadSource": "Web", "MasterRecordId": None, "OwnerId": "0055e000001AbCdAAK",
        "CreatedDate": "2026-11-22T07:00:00.000+0000", "SystemModstamp": "2026-11-23T08:30:15.000+0000",
        "LastActivityDate": "2026-11-20",
    }, "Contact", {
        "given_name": "Zoë", "family_name": "Müller", "display_name": "Zoë Müller", "salutation": "Dr.",
        "email": "zoe.mueller@example.com", "phone": "+4989123456", "phone_other": "+4989999999", "job_title": "CFO",
        "account_ref": {"table": "Account", "remote_id": "0015e00000XyZabAAF"}, "status": "active",
        "verified_email": False, "opt_out_email": True, "do_not_call": False, "lifecycle": "Web",
        "created_at": "2026-11-22T07:00:00Z", "updated_at": "2026-11-23T08:30:15Z",
        "last_seen_at": "2026-11-20T00:00:00Z",
        "url": "/lightning/r/Contact/0035e00000A1bCdAAJ/view",
    }),
    ("Contact", {"Id": "0035e00000A1bCeAAJ", "FirstName": None, "LastName": "Solo", "IsDeleted": False},
     "Contact", {"display_name": "Solo", "given_name": None, "default_address": None, "url": None, "updated_at": None}),
    ("Account", {"attributes": {"type": "Account"}, "Id": "0015e00000XyZabAAF", "Name": "Acme GmbH",
                 "Website": "https://WWW.Acme.example:8080/de?x=1", "NumberOfEmployees": 120, "Industry": "Energy",
                 "Rating": "Hot", "ParentId": "0015e00000XyZacAAF", "AccountNumber": "CD451796"},
     "Account", {"name": "Acme GmbH", "domains": ["acme.example"], "size": 120, "industry": "Energy", "tier": "Hot",
                 "parent_ref": {"table": "Account", "remote_id": "0015e00000XyZacAAF"}, "external_ref": "CD451796",
                 "url": "/lightning/r/Account/0015e00000XyZabAAF/view"}),
    ("Account", {"Id": "0015e00000XyZadAAF", "IsPersonAccount": True, "FirstName": "Ada", "LastName": "King",
                 "Name": "Ada King", "PersonEmail": "ADA@x.example", "PersonMobilePhone": "+44 20 7946 0000",
                 "PersonTitle": "Countess", "PersonHasOptedOutOfEmail": False,
                 "ShippingStreet": "12 St James's Sq\nFlat 2", "ShippingCity": "London",
                 "ShippingCountry": "United Kingdom", "PersonOtherPhone": "+44 20 7946 0001"},
     "PersonAccount", {"display_name": "Ada King", "email": "ada@x.example", "mobile": "+442079460000",
                       "job_title": "Countess", "opt_out_email": False, "given_name": "Ada",
                       "phone_other": "+442079460001", "shipping_address": {
                           "line1": "12 St James's Sq", "line2": "Flat 2", "city": "London", "region": None,
                           "region_code": None, "postal_code": None, "country": "United Kingdom",
                           "country_code": "GB", "type": "shipping"}}),
    ("Case", {
        "attributes": {"type": "Case"}, "Id": "5005e00001AbCdEAAV", "CaseNumber": "00001026", "Subject": "Seal leaks",
        "Description": "Since Monday", "Status": "Working", "IsClosed": False, "Priority": "Medium",
        "Type": "Mechanical",
        "Origin": "Web", "Reason": "Breakdown", "ContactId": "0035e00000A1bCdAAJ", "AccountId": "0015e00000XyZabAAF",
        "OwnerId": "00G5e000001AbCdEAK",
        "ParentId": None, "IsEscalated": True, "ClosedDate": None, "RecordTypeId": "0125e000000AbCdAAK",
        "Account": {"attributes": {"type": "Account"}, "IsPersonAccount": False},
        "CreatedDate": "2026-11-22T07:00:00.000+0000", "SystemModstamp": "2026-11-22T07:00:01.000+0000",
    }, "Case", {
        "number": "00001026", "subject": "Seal leaks", "status": "open", "status_raw": "Working", "priority": "normal",
        "type": "other", "type_raw": "Mechanical", "channel": "web_form", "reason": "Breakdown", "is_escalated": True,
        "customer_ref": {"table": "Contact", "remote_id": "0035e00000A1bCdAAJ"},
        "account_ref": {"table": "Account", "remote_id": "0015e00000XyZabAAF"}, "assignee_ref": None,
        "group_ref": "00G5e000001AbCdEAK", "form": "0125e000000AbCdAAK",
        "url": "/lightning/r/Case/5005e00001AbCdEAAV/view",
    }),
    ("Case", {"Id": "5005e00001AbCdFAAV", "Status": "Cancelled by caller", "IsClosed": True, "Priority": None,
              "Origin": "Fax", "OwnerId": "0055e000001AbCdAAK",
              "ClosedDate": "2026-11-24T00:00:00.000+0000", "ContactId": None, "SuppliedEmail": "Form@Example.com"},
     "Case", {"status": "closed", "status_raw": "Cancelled by caller", "priority": "none", "channel": "unknown",
              "channel_raw": "Fax", "assignee_ref": {"table": "User", "remote_id": "0055e000001AbCdAAK"},
              "customer_ref": {"kind": "customer", "by": "email", "value": "form@example.com"},
              "group_ref": None, "closed_at": "2026-11-24T00:00:00Z"}),
    ("CaseComment", {"Id": "00a5e00000AbCdEAAV", "ParentId": "5005e00001AbCdEAAV", "CommentBody": "called him",
                     "IsPublished": False, "CreatedById": "0055e000001AbCdAAK",
                     "CreatedBy": {"UserType": "Standard", "Name": "Sam"}},
     "CaseComment", {"visibility": "internal", "body_text": "called him", "ticket_ref":
                     {"table": "Case", "remote_id": "5005e00001AbCdEAAV"}, "author": {
                         "type": "agent", "type_raw": "Standard", "name": "Sam",
                         "ref": {"table": "User", "remote_id": "0055e000001AbCdAAK"}}}),
    ("EmailMessage", {"Id": "02s5e00000AbCdEAAV", "ParentId": "5005e00001AbCdEAAV", "Subject": "Re: Seal",
    "Incoming": True,
                      "Status": "1", "TextBody": None, "HtmlBody": "<p>Hi<br>there</p>",
                      "FromAddress": "Zoe@Example.com",
                      "FromName": "Zoë", "ToAddress": "help@acme.example; b@acme.example", "CcAddress": None,
                      "MessageDate": "2026-11-22T09:00:00.000+0000", "CreatedDate": "2026-11-22T09:00:05.000+0000"},
     "EmailMessage", {"visibility": "public", "direction": "inbound", "channel": "email", "cc": None,
                      "body_text": "Hi\nthere", "to": ["help@acme.example", "b@acme.example"],
                      "created_at": "2026-11-22T09:00:00Z",
                      "author": {"type": "customer", "type_raw": "true", "ref": None, "name": "Zoë",
                                 "email": "zoe@example.com"}}),
    ("Order", {
        "attributes": {"type": "Order"}, "Id": "8015e00000AbCdEAAV", "OrderNumber": "00000100", "Status": "Activated",
        "StatusCode": "Activated", "EffectiveDate": "2026-11-01", "CurrencyIsoCode": "JPY", "TotalAmount": 1500.0,
        "OrderReferenceNumber": None, "PoNumber": "PO-9", "BillToContactId": None, "AccountId": "0015e00000XyZabAAF",
        "ShippingStreet": "1-2-3 Chome", "ShippingCity": "Tokyo", "ShippingCountry": "Japan",
        "ShippingCountryCode": "JP",
        "OrderItems": {"totalSize": 2, "done": True, "records": [
            {"Id": "8025e00000AbCdEAAV", "OrderItemNumber": "0000000001", "Quantity": 2.0, "UnitPrice": 500.0,
             "ListPrice": 550.0, "TotalPrice": 1000.0, "Product2Id": "01t5e000003AbCdAAK",
             "Product2": {"ProductCode": "DESK-1", "Name": "Desk"}},
            {"Id": "8025e00000AbCdFAAV", "Quantity": 0.5, "UnitPrice": 1000.0, "TotalPrice": 500.0, "Product2": None}]},
    }, "Order", {
        "number": "00000100", "status": "open", "placed_at": "2026-11-01T00:00:00Z", "currency": "JPY",
        "total": {"amount": 1500, "currency": "JPY"}, "subtotal": {"amount": 1500, "currency": "JPY"},
        "customer_ref": None, "account_ref": {"table": "Account", "remote_id": "0015e00000XyZabAAF"},
        "po_number": "PO-9",
        "url": "/lightning/r/Order/8015e00000AbCdEAAV/view",
    }),
    ("Order", {"Id": "8015e00000AbCdFAAV", "Status": "Draft", "TotalAmount": 19.99, "OrderItems": None},
     "Order", {"status": "draft", "total": None, "subtotal": None, "lines": None}),
    ("User", {"Id": "0055e000001AbCdAAK", "Name": "Sam", "Email": "sam@acme.example", "IsActive": True},
     "User", {"display_name": "Sam", "email": "sam@acme.example", "is_active": True}),
]
# fmt: on
VALUES = {"zendesk": ZENDESK, "stripe": STRIPE, "salesforce": SALESFORCE}
CASES = [(name, *case) for name, cases in VALUES.items() for case in cases]


@pytest.fixture(scope="module")
def mappings() -> dict[str, CompiledMapping]:
    return {
        name: compile_mapping(locate(connector), converters=plugin.hub_converters())
        for name, (connector, plugin) in PLUGINS.items()
    }


@pytest.mark.parametrize(("name", "stream", "raw", "table", "wanted"), CASES)
def test_the_record_says_what_the_vendor_meant(
    mappings: dict[str, CompiledMapping], name: str, stream: str, raw: Json, table: str, wanted: Json
) -> None:
    (entry,) = preview(mappings[name], stream, [raw])
    assert entry["ok"], entry.get("reject")
    assert entry["table"] == table
    assert {field: entry["data"][field] for field in wanted} == wanted


@pytest.mark.parametrize("name", VALUES)
def test_more_than_thirty_values_are_written_down_for_each_vendor(name: str) -> None:
    assert sum(len(wanted) for *_, wanted in VALUES[name]) > 30


@pytest.mark.parametrize(
    ("website", "domain"),
    [
        ("acme.example", ["acme.example"]),
        ("http://www.acme.co.uk/", ["acme.co.uk"]),
        ("https://user:pw@acme.example/a b", ["acme.example"]),
        ("ask reception", None),
        ("http://[::1", None),
        ("localhost", None),
        ("", None),
        (7, None),
    ],
)
def test_a_domain_is_taken_from_what_people_type(
    mappings: dict[str, CompiledMapping], website: Any, domain: list[str] | None
) -> None:
    (entry,) = preview(mappings["salesforce"], "Account", [{"Id": "0015e00000XyZabAAF", "Website": website}])
    assert (entry["data"]["domains"] or None) == domain
