"""The API's OpenAPI documents, one a dialect: what they say of requests is what requests are checked against."""
