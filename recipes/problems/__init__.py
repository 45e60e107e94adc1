"""The problems that the shipped models were trained on."""
