CREATE TABLE IF NOT EXISTS reference (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- newer is greater; below 0: standing, older than all
    charon TEXT NOT NULL,                     -- who called: a row of charon, or STANDING
    identity TEXT NOT NULL,                   -- JSON: matching.Identity, StandingIdentity, ADOPTED
    unique_id INTEGER NOT NULL,
    born INTEGER NOT NULL,                    -- unique_id at its up
    connection TEXT NOT NULL,
    virtual_ips TEXT NOT NULL,
    me TEXT NOT NULL,
    peer TEXT NOT NULL,
    since TEXT NOT NULL,                      -- UTC, for people
    command TEXT NOT NULL DEFAULT ''          -- the user's own, for its down
);
CREATE TABLE IF NOT EXISTS charon (
    name TEXT PRIMARY KEY                     -- see hook.caller; empty by hand
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reference_identity ON reference (charon, identity);
CREATE INDEX IF NOT EXISTS reference_unique_id ON reference (charon, unique_id);
CREATE TABLE IF NOT EXISTS wish (
    key TEXT NOT NULL, reference INTEGER NOT NULL, object TEXT NOT NULL,
    opinion TEXT NOT NULL,                    -- the object's: what is merged with other wishes
    only_with TEXT,                           -- the key that must be wished for, too
    PRIMARY KEY (key, opinion, reference)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS wish_reference ON wish (reference, key);
CREATE INDEX IF NOT EXISTS wish_only_with ON wish (only_with) WHERE only_with IS NOT NULL;
CREATE TABLE IF NOT EXISTS applied (
    key TEXT PRIMARY KEY,
    object TEXT NOT NULL,
    link TEXT NOT NULL,                       -- key of the link it stands on, and goes away with
    about TEXT,                               -- key of the link it is about, if it stands on none
    ip TEXT,                                  -- an address's own, a route's preferred source
    sure INTEGER NOT NULL,
    ifindex INTEGER,
    borrowed INTEGER NOT NULL,
    before TEXT,                              -- what was there before us, and undo goes back to
    fault TEXT,                               -- what was said when a step for it failed
    tried INTEGER NOT NULL DEFAULT 0          -- how often one did
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS applied_link ON applied (link);
CREATE INDEX IF NOT EXISTS applied_about ON applied (about) WHERE about IS NOT NULL;
CREATE INDEX IF NOT EXISTS applied_ip ON applied (ip) WHERE ip IS NOT NULL;
CREATE INDEX IF NOT EXISTS applied_unsure ON applied (fault, tried) WHERE NOT sure;
CREATE TABLE IF NOT EXISTS known (
    charon TEXT NOT NULL, unique_id INTEGER NOT NULL, identity TEXT NOT NULL,
    open INTEGER NOT NULL,                    -- ups less downs with this ID
    became INTEGER NOT NULL DEFAULT 0,        -- its next ID, as far as we could tell
    PRIMARY KEY (charon, unique_id, identity)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS late (
    name TEXT PRIMARY KEY                     -- it was done, though its file is there still
) WITHOUT ROWID;
