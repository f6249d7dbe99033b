"""Ready policies, one folder for each intent."""
