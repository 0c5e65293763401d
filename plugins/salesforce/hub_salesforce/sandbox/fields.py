"""The fields of the sandbox's sObjects, as data."""

_STAMPS = """
CreatedDate datetime
CreatedById ref:User:CreatedBy
LastModifiedDate datetime
LastModifiedById ref:User:LastModifiedBy
SystemModstamp datetime
"""
_SEEN = """
LastViewedDate datetime
LastReferencedDate datetime
"""


def _address(prefix: str) -> str:
    accuracy = "Address|NearAddress|Block|Street|ExtendedZip|Zip|Neighborhood|City|County|State|Unknown"
    parts = (
        "Street textarea",
        "City string",
        "State string",
        "PostalCode string",
        "Country string",
        "Latitude double",
        "Longitude double",
        f"GeocodeAccuracy picklist:{accuracy}",
    )
    return "\n".join(f"{prefix}{part} w" for part in parts) + f"\n{prefix}Address address\n"


# One field a line: name, type, then w (createable and updateable), c (createable only), x (unique external id),
# r (required), l (long text, which no WHERE may name). A reference is ref:Target[,Target]:Relationship[:Children].
FIELDS = {
    "Organization": f"""
Id id
Name string w
IsSandbox boolean
OrganizationType picklist:Team|Professional|Enterprise|Developer
InstanceName string
{_STAMPS}""",
    "Group": f"""
Id id
Name string w
DeveloperName string w
Type picklist:Regular|Role|Queue w
Email email w
{_STAMPS}""",
    "Profile": f"Id id\nName string w\n{_STAMPS}",
    "Product2": f"""
Id id
Name string wr
ProductCode string w
Description textarea w
IsActive boolean w
IsDeleted boolean
CurrencyIsoCode picklist:EUR|GBP|JPY|USD w
{_STAMPS}""",
    "User": f"""
Id id
Username string w
LastName string wr
FirstName string w
Name string
Email email w
Title string w
Phone phone w
Alias string w
IsActive boolean w
UserType picklist:Standard|PowerPartner|CSPLitePortal|CustomerSuccess|PowerCustomerSuccess|CsnOnly|Guest
ProfileId ref:Profile:Profile w
TimeZoneSidKey picklist:Europe/Berlin|America/Los_Angeles w
LocaleSidKey picklist:en_US|de_DE w
LanguageLocaleKey picklist:en_US|de w
LastLoginDate datetime
CurrencyIsoCode picklist:EUR|GBP|JPY|USD w
{_STAMPS}""",
    "Account": f"""
Id id
IsDeleted boolean
MasterRecordId ref:Account:MasterRecord
Name string wr
Type picklist:Prospect|Customer - Direct|Customer - Channel|Other w
RecordTypeId ref:RecordType:RecordType w
ParentId ref:Account:Parent:ChildAccounts w
{_address("Billing")}{_address("Shipping")}
Phone phone w
Fax phone w
AccountNumber string w
Website url w
Industry picklist:Agriculture|Apparel|Banking|Consulting|Retail|Other w
AnnualRevenue currency w
NumberOfEmployees int w
Rating picklist:Hot|Warm|Cold w
Description textarea wl
OwnerId ref:User:Owner w
CurrencyIsoCode picklist:EUR|GBP|JPY|USD w
{_STAMPS}LastActivityDate date
{_SEEN}""",
    "Contact": f"""
Id id
IsDeleted boolean
MasterRecordId ref:Contact:MasterRecord
AccountId ref:Account:Account:Contacts w
LastName string wr
FirstName string w
Salutation picklist:Mr.|Ms.|Mrs.|Dr.|Prof. w
Name string
{_address("Other")}{_address("Mailing")}
Phone phone w
Fax phone w
MobilePhone phone w
HomePhone phone w
OtherPhone phone w
AssistantPhone phone w
Email email w
Title string w
Department string w
LeadSource picklist:Web|Phone Inquiry|Partner Referral|Purchased List|Other w
Birthdate date w
Description textarea wl
OwnerId ref:User:Owner w
HasOptedOutOfEmail boolean w
DoNotCall boolean w
IsEmailBounced boolean
EmailBouncedReason string w
EmailBouncedDate datetime w
Hub_External_Id__c string wx
CurrencyIsoCode picklist:EUR|GBP|JPY|USD w
{_STAMPS}LastActivityDate date
{_SEEN}""",
    "Case": f"""
Id id
IsDeleted boolean
MasterRecordId ref:Case:MasterRecord
CaseNumber string
ContactId ref:Contact:Contact:Cases w
AccountId ref:Account:Account:Cases w
ParentId ref:Case:Parent:Cases w
SuppliedName string w
SuppliedEmail email w
SuppliedPhone string w
SuppliedCompany string w
Type picklist:Question|Problem|Feature Request|Mechanical|Electrical|Electronic|Structural|Other w
Status picklist:New|Working|Escalated|Waiting on Customer|On Hold|Closed w
Reason picklist:Installation|Equipment Complexity|Performance|Breakdown|Equipment Design|Feedback|Other w
Origin picklist:Phone|Email|Web|Chat|API w
Subject string w
Priority picklist:Critical|High|Medium|Low w
Description textarea wl
IsClosed boolean
ClosedDate datetime
IsEscalated boolean w
OwnerId ref:Group,User:Owner w
Hub_Key__c string wx
{_STAMPS}
ContactPhone phone
ContactMobile phone
ContactEmail email
Comments textarea wl
{_SEEN}""",
    "CaseComment": f"""
Id id
ParentId ref:Case:Parent:CaseComments cr
IsPublished boolean w
CommentBody textarea wl
IsDeleted boolean
{_STAMPS}""",
    "EmailMessage": f"""
Id id
ParentId ref:Case:Parent:EmailMessages c
TextBody textarea cl
HtmlBody textarea cl
Headers textarea cl
Subject string c
FromName string c
FromAddress email c
ToAddress string c
CcAddress string c
BccAddress string c
Incoming boolean c
HasAttachment boolean
Status picklist:0|1|2|3|4|5 w
MessageDate datetime c
MessageIdentifier string c
IsDeleted boolean
{_STAMPS}""",
    "Order": f"""
Id id
OwnerId ref:Group,User:Owner w
AccountId ref:Account:Account:Orders wr
OriginalOrderId ref:Order:OriginalOrder:Orders c
EffectiveDate date wr
EndDate date w
IsReductionOrder boolean c
Status picklist:Draft|Activated|Completed|Canceled w
Description textarea wl
Type picklist:Web|Phone w
{_address("Billing")}{_address("Shipping")}
Name string w
PoDate date w
PoNumber string w
OrderReferenceNumber string w
BillToContactId ref:Contact:BillToContact w
ShipToContactId ref:Contact:ShipToContact w
ActivatedDate datetime
StatusCode picklist:Draft|Activated|Canceled|Expired
OrderNumber string
TotalAmount currency
IsDeleted boolean
CurrencyIsoCode picklist:EUR|GBP|JPY|USD w
{_STAMPS}{_SEEN}""",
    "OrderItem": f"""
Id id
Product2Id ref:Product2:Product2 c
IsDeleted boolean
OrderId ref:Order:Order:OrderItems cr
OriginalOrderItemId ref:OrderItem:OriginalOrderItem c
Quantity double wr
UnitPrice currency wr
ListPrice currency
TotalPrice currency
ServiceDate date w
EndDate date w
Description string w
OrderItemNumber string
CurrencyIsoCode picklist:EUR|GBP|JPY|USD
{_STAMPS}""",
    "Topic": """
Id id
Name string cr
Description textarea w
TalkingAbout int
CreatedDate datetime
CreatedById ref:User:CreatedBy
SystemModstamp datetime
""",
    "TopicAssignment": """
Id id
TopicId ref:Topic:Topic:TopicAssignments cr
EntityId ref:Case:Entity:TopicAssignments cr
EntityType string
IsDeleted boolean
CreatedDate datetime
CreatedById ref:User:CreatedBy
SystemModstamp datetime
""",
}
PERSON = {
    "Account": f"""
IsPersonAccount boolean
PersonContactId ref:Contact:PersonContact
FirstName string w
LastName string w
Salutation picklist:Mr.|Ms.|Mrs.|Dr.|Prof. w
PersonEmail email w
PersonHomePhone phone w
PersonMobilePhone phone w
PersonOtherPhone phone w
PersonAssistantPhone phone w
Hub_External_Id__pc string wx
PersonTitle string w
PersonHasOptedOutOfEmail boolean w
PersonDoNotCall boolean w
PersonLeadSource picklist:Web|Phone Inquiry|Partner Referral|Purchased List|Other w
{_address("PersonMailing")}""",
    "Contact": "IsPersonAccount boolean\n",
}
