"""Reads, checks and writes the documents that users write."""

from autoscaler.policy_files.read import find_problems, load_policies, parse_policies, policies_of
from autoscaler.policy_files.schema import policy_schema
from autoscaler.policy_files.write import dump_policies

__all__ = ["dump_policies", "find_problems", "load_policies", "parse_policies", "policies_of", "policy_schema"]
