"""Docker's verbs over any Docker host: one grammar, one act, one result each.

Knows:   docker's words, flags and spelling, and what to ask of a host for each of them.
Refuses: to show anything; `notebook/` and `console/` do, each in its own way.
Source:  docs.docker.com/reference/cli.
"""
