"""`python -m services.identity`: the identity process of one tenant, until told to stop."""

from __future__ import annotations

from services.identity.service import application
from services.identity.settings import IdentitySettings

if __name__ == "__main__":
    application(IdentitySettings()).run()
