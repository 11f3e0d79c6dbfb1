-- A journal as a gate of version 2 of its tables left it: one question that is over, one that is open.
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE questions (
    id TEXT PRIMARY KEY,
    accepted_unix_millis INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE entries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    question TEXT NOT NULL REFERENCES questions (id),
    at_millis INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX entries_of_a_question ON entries (question, number);
CREATE INDEX open_questions ON questions (closed) WHERE closed = 0;
CREATE TRIGGER entries_stand BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
INSERT INTO questions (id, accepted_unix_millis, closed, body) VALUES ('d-OLD-over', 1700000000000, 1, '{"question":{"id":"d-OLD-over","limit":{"secs":3600,"nanos":0},"unmatched":"rollback","observe":false},"deployment_id":"d-OLD","execution_id":"token-0","accepted_unix_millis":1700000000000}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-over', 0, '{"fact":{"fact":"woke"}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-over', 2000, '{"fact":{"fact":{"unresolved":{"trouble":{"blame":"aws","lasting":false,"what":"GetDeployment of d-OLD failed: ThrottlingException: it''s busy"}}}}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-over', 4000, '{"fact":{"fact":"resumed"}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-over', 6000, '{"fact":{"fact":"unchanged"}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-over', 8000, '{"fact":{"fact":"woke"}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-over', 10000, '{"decided":{"decision":{"answer":"rollback","basis":"unresolved","reason":"nothing could be resolved"}}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-over', 12000, '{"fact":{"fact":{"delivered":{"delivery":{"delivery":"confirmed"}}}}}');
INSERT INTO questions (id, accepted_unix_millis, closed, body) VALUES ('d-OLD-open', 1700000100000, 0, '{"question":{"id":"d-OLD-open","limit":{"secs":3600,"nanos":0},"unmatched":"rollback","observe":false},"deployment_id":"d-OLD","execution_id":"token-1","accepted_unix_millis":1700000100000}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-open', 0, '{"fact":{"fact":"woke"}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-open', 2000, '{"fact":{"fact":{"unresolved":{"trouble":{"blame":"aws","lasting":false,"what":"GetDeployment of d-OLD failed: ThrottlingException: it''s busy"}}}}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-open', 4000, '{"fact":{"fact":"resumed"}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-open', 6000, '{"fact":{"fact":"unchanged"}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-open', 8000, '{"fact":{"fact":"woke"}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-open', 10000, '{"decided":{"decision":{"answer":"rollback","basis":"unresolved","reason":"nothing could be resolved"}}}');
INSERT INTO entries (question, at_millis, body) VALUES ('d-OLD-open', 12000, '{"fact":{"fact":{"undelivered":{"trouble":{"blame":"aws","lasting":false,"what":"slow"}}}}}');
PRAGMA user_version = 2;
COMMIT;
