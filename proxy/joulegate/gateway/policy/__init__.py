"""What may happen to a request: settings, routes, tasks, tenants, admission. Pure."""
