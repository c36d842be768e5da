"""The desktop: a window over the client library. Nothing here knows SQL, states or rights."""
