"""Fields of typed options: their roles, their values as users write them, and the options that several commands share.

It imports only error messages and nothing slow, since every command reads its options before it imports anything else;
configurations, commands, the reading of data and whatever handles fields import it.
"""
