"""Logins: where a token or password comes from, and the private authfiles that skopeo reads. Never prints a secret."""

from migrate.credentials.api import ApiAccess, api_of
from migrate.credentials.authfiles import authfile_text
from migrate.credentials.gate import LoginGate, LoginPatience
from migrate.credentials.kubeconfig import kubeconfig_servers
from migrate.credentials.login import Credential, Login
from migrate.credentials.origins import login_of

__all__ = [
    "ApiAccess",
    "Credential",
    "Login",
    "LoginGate",
    "LoginPatience",
    "api_of",
    "authfile_text",
    "kubeconfig_servers",
    "login_of",
]
