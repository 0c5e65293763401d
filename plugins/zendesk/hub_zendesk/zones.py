"""Converters of times: the names that Zendesk, a Rails application, gives time zones; moments told in minutes."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

# What Rails calls its zones; several names may mean one of IANA's
# (https://api.rubyonrails.org/classes/ActiveSupport/TimeZone.html).
_NAMES = """\
International Date Line West=Etc/GMT+12
Midway Island|American Samoa=Pacific/Pago_Pago
Hawaii=Pacific/Honolulu
Alaska=America/Juneau
Pacific Time (US & Canada)=America/Los_Angeles
Tijuana=America/Tijuana
Mountain Time (US & Canada)=America/Denver
Arizona=America/Phoenix
Chihuahua=America/Chihuahua
Mazatlan=America/Mazatlan
Central Time (US & Canada)=America/Chicago
Saskatchewan=America/Regina
Guadalajara|Mexico City=America/Mexico_City
Monterrey=America/Monterrey
Central America=America/Guatemala
Eastern Time (US & Canada)=America/New_York
Indiana (East)=America/Indiana/Indianapolis
Bogota=America/Bogota
Lima|Quito=America/Lima
Atlantic Time (Canada)=America/Halifax
Caracas=America/Caracas
La Paz=America/La_Paz
Santiago=America/Santiago
Asuncion=America/Asuncion
Newfoundland=America/St_Johns
Brasilia=America/Sao_Paulo
Buenos Aires=America/Argentina/Buenos_Aires
Montevideo=America/Montevideo
Georgetown=America/Guyana
Puerto Rico=America/Puerto_Rico
Greenland=America/Godthab
Mid-Atlantic=Atlantic/South_Georgia
Azores=Atlantic/Azores
Cape Verde Is.=Atlantic/Cape_Verde
Dublin=Europe/Dublin
Edinburgh|London=Europe/London
Lisbon=Europe/Lisbon
Casablanca=Africa/Casablanca
Monrovia=Africa/Monrovia
UTC=Etc/UTC
Belgrade=Europe/Belgrade
Bratislava=Europe/Bratislava
Budapest=Europe/Budapest
Ljubljana=Europe/Ljubljana
Prague=Europe/Prague
Sarajevo=Europe/Sarajevo
Skopje=Europe/Skopje
Warsaw=Europe/Warsaw
Zagreb=Europe/Zagreb
Brussels=Europe/Brussels
Copenhagen=Europe/Copenhagen
Madrid=Europe/Madrid
Paris=Europe/Paris
Amsterdam=Europe/Amsterdam
Berlin=Europe/Berlin
Bern|Zurich=Europe/Zurich
Rome=Europe/Rome
Stockholm=Europe/Stockholm
Vienna=Europe/Vienna
West Central Africa=Africa/Algiers
Bucharest=Europe/Bucharest
Cairo=Africa/Cairo
Helsinki=Europe/Helsinki
Kyiv|Kyev=Europe/Kiev
Riga=Europe/Riga
Sofia=Europe/Sofia
Tallinn=Europe/Tallinn
Vilnius=Europe/Vilnius
Athens=Europe/Athens
Istanbul=Europe/Istanbul
Minsk=Europe/Minsk
Jerusalem=Asia/Jerusalem
Harare=Africa/Harare
Pretoria=Africa/Johannesburg
Kaliningrad=Europe/Kaliningrad
Moscow|St. Petersburg=Europe/Moscow
Volgograd=Europe/Volgograd
Samara=Europe/Samara
Kuwait=Asia/Kuwait
Riyadh=Asia/Riyadh
Nairobi=Africa/Nairobi
Baghdad=Asia/Baghdad
Tehran=Asia/Tehran
Abu Dhabi|Muscat=Asia/Muscat
Baku=Asia/Baku
Tbilisi=Asia/Tbilisi
Yerevan=Asia/Yerevan
Kabul=Asia/Kabul
Ekaterinburg=Asia/Yekaterinburg
Islamabad|Karachi=Asia/Karachi
Tashkent=Asia/Tashkent
Chennai|Kolkata|Mumbai|New Delhi=Asia/Kolkata
Kathmandu=Asia/Kathmandu
Dhaka=Asia/Dhaka
Sri Jayawardenepura=Asia/Colombo
Almaty|Astana=Asia/Almaty
Novosibirsk=Asia/Novosibirsk
Rangoon=Asia/Rangoon
Bangkok|Hanoi=Asia/Bangkok
Jakarta=Asia/Jakarta
Krasnoyarsk=Asia/Krasnoyarsk
Beijing=Asia/Shanghai
Chongqing=Asia/Chongqing
Hong Kong=Asia/Hong_Kong
Urumqi=Asia/Urumqi
Kuala Lumpur=Asia/Kuala_Lumpur
Singapore=Asia/Singapore
Taipei=Asia/Taipei
Perth=Australia/Perth
Irkutsk=Asia/Irkutsk
Ulaanbaatar|Ulaan Bataar=Asia/Ulaanbaatar
Seoul=Asia/Seoul
Osaka|Sapporo|Tokyo=Asia/Tokyo
Yakutsk=Asia/Yakutsk
Darwin=Australia/Darwin
Adelaide=Australia/Adelaide
Canberra|Melbourne=Australia/Melbourne
Sydney=Australia/Sydney
Brisbane=Australia/Brisbane
Hobart=Australia/Hobart
Vladivostok=Asia/Vladivostok
Guam=Pacific/Guam
Port Moresby=Pacific/Port_Moresby
Magadan=Asia/Magadan
Srednekolymsk=Asia/Srednekolymsk
Solomon Is.=Pacific/Guadalcanal
New Caledonia=Pacific/Noumea
Fiji=Pacific/Fiji
Kamchatka=Asia/Kamchatka
Marshall Is.=Pacific/Majuro
Auckland|Wellington=Pacific/Auckland
Nuku'alofa=Pacific/Tongatapu
Tokelau Is.=Pacific/Fakaofo
Chatham Is.=Pacific/Chatham
Samoa=Pacific/Apia"""
ZONES = {name: zone for line in _NAMES.splitlines() for names, zone in [line.split("=")] for name in names.split("|")}


_IANA = re.compile(r"[A-Z][A-Za-z_]+(/[A-Z][A-Za-z0-9_+-]+){1,2}")


def zendesk_zone(name: Any) -> str | None:
    """Give the IANA name of a time zone that goes by its Rails name, or by IANA's own; null for any other."""
    if not isinstance(name, str):
        return None
    return ZONES.get(name) or (name if _IANA.fullmatch(name) else None)


def zendesk_later(values: Sequence[Any]) -> str | None:
    """Give the moment so many minutes after another; null where either is not told. Raises ValueError for no time."""
    start, minutes = values
    if not isinstance(start, str) or minutes.__class__ is not int:
        return None
    try:
        return (datetime.fromisoformat(start) + timedelta(minutes=minutes)).isoformat()
    except OverflowError as exc:
        raise ValueError("the minutes are out of the range of times") from exc


zendesk_later.takes = "many"  # type: ignore[attr-defined]
