"""What is looked for, a module a subject; ``lint/catalogue.py`` lists the rules."""
