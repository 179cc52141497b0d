"""What a power cycle is called, whatever Home Assistant does: one table for the virtual relay and for the real one."""

ANSWERS = {
    "unauthorized": ("ha_error", "unauthorized"),
    "read_only": ("ha_error", "unauthorized"),
    "no_service": ("ha_error", "bad_request"),
    "banned": ("ha_error", "banned"),
    "unknown": ("ha_error", "unknown_entity"),
    "starting": ("ha_error", "starting"),
    "unavailable": ("ha_error", "unavailable"),
    "ignored": ("ha_error", "ignored"),
    "stuck": ("timeout", "stuck"),
    "slow": ("timeout", "slow"),
    "lying": ("ha_error", "not_proven"),
    "server_error": ("ha_error", "server_error"),
    "refused": ("ha_error", "unreachable"),
}
"""What Home Assistant does → (result, detail), for a slot with a proof."""
