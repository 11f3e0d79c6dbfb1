"""SQS in front of moto: long polling that can be hung up, and receipt handles that grow old."""
