"""Fakes for tests of joulegate and of its plug-ins: clocks, energy sources, servers, conformance kits."""
