"""How the models that ship with metagen were made."""
