"""What the codes of losses and facts mean, and where the originals are: the words of reports and docs."""

from __future__ import annotations

LOSSES: dict[str, tuple[str, str]] = {
    "no_place_in_v1": ("on the way back: V1 has no place for it", "sessionlift_complement, kept"),
    "aside_kept": (
        "on the way back: it lay in quarantine, and the legacy store does not get it, but the session as it is in the "
        "new store",
        "sessionlift_complement, discarded",
    ),
    "added_column_kept": (
        "on the way back: the application has added this column, and the legacy store has none",
        "sessionlift_complement, discarded",
    ),
    "new_writes_discarded": (
        "sessions whose new writes were not carried back, as was asked for",
        "sessionlift_complement, discarded",
    ),
    "message_type_mapped": (
        "v3 allows five message types; this one became the nearest of them",
        "messages.metadata, sessionlift.message_type",
    ),
    "event_type_mapped": (
        "v3 allows three event types; the type of a subclass became its base's",
        "events.metadata, sessionlift.event_type",
    ),
    "metadata_reshaped": (
        "v2's list of typed items, or what stood in its place, became v3's object",
        "sessionlift_complement, metadata",
    ),
    "metadata_wrapped": (
        "the metadata is no JSON object (or holds our own key), so it stands under that key",
        "events.metadata, sessionlift.metadata",
    ),
    "json_null_mapped": (
        "v2's JSON null (for step_metadata: NULL) became what v3 writes for nothing: NULL (for step_metadata: {})",
        "sessionlift_complement, cells; cells not named there held what v2's own writer puts for nothing",
    ),
    "timestep_unknown": (
        "the recorded counts of the session's timesteps do not add up to its rows, so the timestep stays NULL",
        "nothing was there: v2 never stored the link",
    ),
    "time_out_of_range": (
        "the target's text or number cannot hold this time; it became NULL",
        "sessionlift_complement, cells",
    ),
    "time_ambiguous": (
        "the hour that a clock change repeats; read as its first occurrence",
        "the target's time leads back to the same local time",
    ),
    "time_nonexistent": (
        "an hour that a clock change leaves out; read with the offset in force before the change",
        "sessionlift_complement, cells; for LangSwarm the text stands beside the target's time",
    ),
    "double_not_storable": (
        "SQLite holds no NaN and no double the cents of such a cost (they became NULL), and no negative zero (0.0)",
        "sessionlift_complement, cells; for cost events.metadata, sessionlift.cost",
    ),
    "created_at_missing": (
        "the session had no time; v3 demands one, and got the earliest of its rows (1970 if there is none)",
        "sessionlift_complement, created_at",
    ),
    "counter_missing": (
        "a recorded counter was NULL; v3 demands one, and got the number of rows",
        "sessionlift_complement, counters",
    ),
    "legacy_tail_kept": (
        "both sides went on after the move; what the legacy store got was not taken over, as was asked for",
        "sessionlift_quarantine",
    ),
    "column_to_metadata": (
        "v3 has no columns for these; they became keys of metadata",
        "system_versions.metadata",
    ),
    "time_clamped": (
        "the UTC of this time lies outside of the years 1 to 9999; it became the nearest time inside",
        "session_messages.metadata, sessionlift.timestamp; for sessions context_data, provider_context",
    ),
    "time_shifted": (
        "V2 orders messages by their times; this one had to move so that V1's order comes out",
        "session_messages.metadata, sessionlift.timestamp",
    ),
    "provider_mapped": (
        "V1's spelling of the provider became V2's",
        "sessions.context_data, provider_context.provider",
    ),
    "provider_unknown": (
        "V2 has no such provider; the name stays as it is spelled",
        "sessions.provider",
    ),
    "text_surrogate": (
        "half of a surrogate pair, which UTF-8 cannot hold, became U+FFFD",
        "session_messages.metadata, sessionlift; for sessions sessionlift_complement, metadata, or provider_context",
    ),
    "value_reshaped": (
        "a value of another type than the column's became its text, or 0 for a number",
        "session_messages.metadata, sessionlift; for sessions sessionlift_complement, metadata, or provider_context",
    ),
    "content_surrogate": (
        "half of a surrogate pair in a message's content, which UTF-8 cannot hold, became U+FFFD",
        "session_messages.metadata, sessionlift.content",
    ),
    "content_reshaped": (
        "content that is no text (null, a list, an object, a number) became text that V2 can store and show",
        "session_messages.metadata, sessionlift.content",
    ),
    "message_metadata_wrapped": (
        "the message's metadata is no object (or holds a key that V2's needs), so it stands under our key",
        "session_messages.metadata, sessionlift.metadata",
    ),
    "number_too_large": (
        "an integer outside of 64 bits became 0",
        "sessions.context_data, provider_context.total_tokens",
    ),
    "search_index": (
        "rows of the enhanced store that are no session: an index that is made from the sessions, left out",
        "the legacy store; the sessions that it was made from have moved",
    ),
    "row_not_held": (
        "on the way back: the old shape has no place for such a row (a reward, or an id beyond 32 bits)",
        "sessionlift_complement, kept; the next move forward puts it back",
    ),
    "column_not_held": (
        "on the way back: the old shape has no column for this value",
        "sessionlift_complement, kept; the next move forward puts it back",
    ),
    "value_not_held": (
        "on the way back: the old shape cannot hold the value so spelled or of this type; it got the nearest one",
        "sessionlift_complement, kept; the next move forward puts it back",
    ),
    "derived_row_gone": (
        "on the way back: a reward that a move derives from the old shape is not in the new store",
        "sessionlift_complement, kept; the next move forward deletes it again",
    ),
    "id_renumbered": (
        "on the way back: a row that the application added got another id, since the old one is taken there",
        "sessionlift_complement, kept; the next move forward gives the old id back if it is free",
    ),
}
"""Code of a loss: its meaning, and where the original is kept."""

FACTS: dict[str, str] = {
    "table_not_moved": "rows of a table that the old program knows nothing of: no move does either, and they stay "
    "where they are",
    "column_not_moved": "values of columns that the old program knows nothing of: no move does either, and they stay "
    "where they are",
    "catalog_left_alone": "systems, versions, experiments or links that were left as the application has them: the "
    "source has not changed them since the move",
    "put_back": "sessions that were in the older store for a while: what that could not hold was given back to them",
    "not_put_back": (
        "rows and values that the older store could not hold, and that were not given back: they are of a row, or name "
        "one, that the old program has changed or deleted, or another has their key; they stay in "
        "sessionlift_complement, kept"
    ),
    "carried_added": "rows that the application wrote after the move; the legacy store has them now",
    "carried_changed": "rows that the application changed after the move; the legacy store has the change now",
    "carried_deleted": "rows that the application deleted after the move; they are deleted in the legacy store, too",
    "carried_linked": (
        "rows that the application need not have touched: its other writes have the legacy store's counts lead "
        "elsewhere, so it says their timestep now, which the old program leaves empty"
    ),
    "carried_whole": (
        "sessions that were written to after the move, rebuilt in a store that had nothing of them: what of their rows "
        "is new cannot be told there"
    ),
    "deleted_in_target": "the session was moved once and deleted there since: it does not come back by itself",
    "rolled_back": (
        "the session was moved once and taken back into another store than this source: it lives there, and comes from "
        "there only"
    ),
    "recorded_counts_differ": (
        "sessions whose recorded counters disagree with their rows: the old writer lost rows when it saved; "
        "nothing was repaired"
    ),
    "experiment_missing": "sessions name experiments that do not exist; v2 never checked that link",
    "early_dress": "messages written by an early or middle release: the content is an envelope",
    "metadata_type_lost": "metadata items whose type the early and middle writers lost",
    "episode_results_repeated": "sessions in which several items tell the episode's results; the last one was taken",
    "text_with_nul": (
        "sessions, messages or rows of the catalog whose text holds a NUL character: whole in the target, but SQLite's "
        "length() and shell stop there"
    ),
    "json_not_strict": "JSON text with NaN or Infinity: kept as it is, strict readers refuse it",
    "columns_disagree": "V1 sessions whose columns differ from their JSON, which V1 reads; the JSON was taken",
    "counter_disagrees": "V1 sessions whose message_count is not the number of their messages; the list was counted",
    "duplicate_message_id": "messages whose id another one of the same session has; all of them moved",
    "unknown_keys": "keys that V1's reader does not know, and its next save would drop; they are kept for the way back",
    "times_in_future": (
        "messages whose time lies after the start of the move: what the application writes now sorts before them; "
        "usually the time zone is wrong"
    ),
    "history_salvaged": "sessions of whose broken history only the readable messages moved",
}
