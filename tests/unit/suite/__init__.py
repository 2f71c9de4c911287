"""Tests of what turns measurements into verdicts and reports."""
