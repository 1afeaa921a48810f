"""The service's OpenAPI document and the page that shows it."""
