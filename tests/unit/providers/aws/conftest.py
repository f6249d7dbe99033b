from tests.aws.fixtures import aws, aws_session, moto

__all__ = ["aws", "aws_session", "moto"]
