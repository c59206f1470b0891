CREATE OR REPLACE FUNCTION "note_validators_of_messages"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	-- Looked up one by one, which "OFFSET 0" makes sure of: a connection plans this once, for as many rows as its first statement had, and would go through all messages for one row after a post of a thousand.
	INSERT INTO validator_changes (validator_id) SELECT DISTINCT m.validator_id FROM changed c CROSS JOIN LATERAL (SELECT validator_id FROM messages WHERE id = c.message_id OFFSET 0) m;
	RETURN NULL;
END $$;
