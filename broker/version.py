"""The version of Haypile."""

VERSION = "0.1.0"
