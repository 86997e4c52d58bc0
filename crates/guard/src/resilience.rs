//! What stands around every connector so that one that fails or is slow harms nobody else: deadlines, retries, a breaker.
