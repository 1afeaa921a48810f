"""One service of pets, written for each framework: what `python -m bench.suite` serves side by side.

Each answers `GET /ping`, `GET /me`, `GET /pets/{id}`, `GET /pets/?page=1&page_size=50` with a total, and `POST /pets/`;
all but the first need an RS256 access token. Each runs in an environment of its own and imports nothing of the others.
The suite makes the table and hands over what a service needs in environment variables:

    BENCH_DATABASE_URL  postgresql://… of the database with the table `pet`
    BENCH_PUBLIC_KEY    the file of the issuer's public key, PEM
    BENCH_ISSUER        the issuer's address; it serves its metadata and keys
    BENCH_AUDIENCE      the audience of the tokens
"""
