"""HELM as a program: what it is asked, the data it needs, its log, and plug-ins that it loads."""
