"""Object stores: S3 and what speaks its protocol, and Google Cloud Storage."""
