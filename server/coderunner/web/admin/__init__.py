"""The operator's interface, `/api/admin/` and the page `/admin`."""
