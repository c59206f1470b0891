CREATE TABLE "tallies" (
	"id" "bytea" PRIMARY KEY NOT NULL,
	"cluster_id" bigint,
	"claimed_by" "bytea",
	"vault" "bytea",
	"beacon_vault" "bytea",
	"is_registered" boolean NOT NULL,
	"has_exited" boolean NOT NULL,
	"oracle_set_id" bigint,
	"is_index_wrong" boolean NOT NULL,
	"key" text NOT NULL,
	"key_vault" "bytea",
	"exit_state" text,
	"deposit_state" text,
	"is_split_anew" boolean NOT NULL,
	"split_set_id" bigint,
	"exit_missing" bigint[],
	"deposit_missing" bigint[],
	"validators" bigint NOT NULL,
	CONSTRAINT "tallies_validators_not_negative" CHECK ("tallies"."validators" >= 0)
);
--> statement-breakpoint
CREATE TABLE "validator_changes" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"validator_id" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "validator_tallies" (
	"validator_id" bigint PRIMARY KEY NOT NULL,
	"tally_id" "bytea" NOT NULL,
	"exit_since" timestamp with time zone,
	"deposit_since" timestamp with time zone,
	"is_awaited" boolean NOT NULL
);
--> statement-breakpoint
ALTER TABLE "request_nonces" DROP CONSTRAINT "request_nonces_signer_length";--> statement-breakpoint
DROP INDEX "messages_not_ready";--> statement-breakpoint
DROP INDEX "messages_collecting";--> statement-breakpoint
CREATE INDEX "validator_changes_validator" ON "validator_changes" USING btree ("validator_id");--> statement-breakpoint
CREATE INDEX "validator_tallies_exits" ON "validator_tallies" USING btree ("tally_id","exit_since") WHERE "validator_tallies"."exit_since" is not null;--> statement-breakpoint
CREATE INDEX "validator_tallies_deposits" ON "validator_tallies" USING btree ("tally_id","deposit_since") WHERE "validator_tallies"."deposit_since" is not null;--> statement-breakpoint
CREATE INDEX "validator_tallies_awaited" ON "validator_tallies" USING btree ("validator_id") WHERE "validator_tallies"."is_awaited";--> statement-breakpoint
CREATE INDEX "messages_collecting" ON "messages" USING btree ("kind","id") WHERE "messages"."state" = 'collecting';--> statement-breakpoint
ALTER TABLE "request_nonces" ADD CONSTRAINT "request_nonces_signer_length" CHECK (octet_length("request_nonces"."signer") in (20, 32, 33));--> statement-breakpoint
INSERT INTO "request_nonces" ("signer", "nonce", "seen_at") SELECT "oracle", "nonce", "seen_at" FROM "oracle_nonces";--> statement-breakpoint
DROP TABLE "oracle_nonces";--> statement-breakpoint
CREATE VIEW "oracle_nonces" AS SELECT "signer" AS "oracle", "nonce", "seen_at" FROM "request_nonces" WHERE octet_length("signer") = 20;--> statement-breakpoint
CREATE FUNCTION "note_validators"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO validator_changes (validator_id) SELECT id FROM changed;
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE FUNCTION "note_validator"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO validator_changes (validator_id) VALUES (NEW.id);
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE FUNCTION "note_validators_of_rows"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO validator_changes (validator_id) SELECT DISTINCT validator_id FROM changed;
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE FUNCTION "note_validator_of_row"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO validator_changes (validator_id) VALUES (NEW.validator_id);
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE FUNCTION "note_validators_of_messages"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO validator_changes (validator_id) SELECT DISTINCT m.validator_id FROM changed c JOIN messages m ON m.id = c.message_id;
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE FUNCTION "note_validator_of_message"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO validator_changes (validator_id) SELECT m.validator_id FROM messages m WHERE m.id = NEW.message_id;
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE FUNCTION "note_validators_of_keys"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO validator_changes (validator_id) SELECT v.id FROM changed c JOIN validators v ON v.public_key = c.public_key;
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER "validators_counted_in" AFTER INSERT ON "validators" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators"();--> statement-breakpoint
CREATE TRIGGER "validators_counted_out" AFTER DELETE ON "validators" REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators"();--> statement-breakpoint
CREATE TRIGGER "messages_counted_in" AFTER INSERT ON "messages" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_rows"();--> statement-breakpoint
CREATE TRIGGER "messages_counted_out" AFTER DELETE ON "messages" REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_rows"();--> statement-breakpoint
CREATE TRIGGER "deposit_bindings_counted_in" AFTER INSERT ON "deposit_bindings" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_rows"();--> statement-breakpoint
CREATE TRIGGER "deposit_bindings_counted_out" AFTER DELETE ON "deposit_bindings" REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_rows"();--> statement-breakpoint
CREATE TRIGGER "key_shares_counted_in" AFTER INSERT ON "key_shares" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_rows"();--> statement-breakpoint
CREATE TRIGGER "key_shares_counted_out" AFTER DELETE ON "key_shares" REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_rows"();--> statement-breakpoint
CREATE TRIGGER "partial_signatures_counted_in" AFTER INSERT ON "partial_signatures" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_messages"();--> statement-breakpoint
CREATE TRIGGER "partial_signatures_counted_out" AFTER DELETE ON "partial_signatures" REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_messages"();--> statement-breakpoint
CREATE TRIGGER "oracle_shares_counted_in" AFTER INSERT ON "oracle_shares" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_messages"();--> statement-breakpoint
CREATE TRIGGER "oracle_shares_counted_out" AFTER DELETE ON "oracle_shares" REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_messages"();--> statement-breakpoint
CREATE TRIGGER "registry_validators_counted_in" AFTER INSERT ON "registry_validators" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_keys"();--> statement-breakpoint
CREATE TRIGGER "registry_validators_counted_out" AFTER DELETE ON "registry_validators" REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_keys"();--> statement-breakpoint
CREATE TRIGGER "validators_counted_anew" AFTER UPDATE OF cluster_id, withdrawal_address, listed_vault, vault, beacon_index, beacon_vault, registered_at, exited_at, oracle_set_id ON "validators" FOR EACH ROW WHEN ((OLD.cluster_id, OLD.withdrawal_address, OLD.listed_vault, OLD.vault, OLD.beacon_index, OLD.beacon_vault, OLD.registered_at, OLD.exited_at, OLD.oracle_set_id) IS DISTINCT FROM (NEW.cluster_id, NEW.withdrawal_address, NEW.listed_vault, NEW.vault, NEW.beacon_index, NEW.beacon_vault, NEW.registered_at, NEW.exited_at, NEW.oracle_set_id)) EXECUTE FUNCTION "note_validator"();--> statement-breakpoint
CREATE TRIGGER "messages_counted_anew" AFTER UPDATE OF state, requester, validator_index, created_at ON "messages" FOR EACH ROW WHEN ((OLD.state, OLD.requester, OLD.validator_index, OLD.created_at) IS DISTINCT FROM (NEW.state, NEW.requester, NEW.validator_index, NEW.created_at)) EXECUTE FUNCTION "note_validator_of_row"();--> statement-breakpoint
CREATE TRIGGER "partial_signatures_counted_anew" AFTER UPDATE OF state ON "partial_signatures" FOR EACH ROW WHEN ((OLD.state = 'rejected') <> (NEW.state = 'rejected')) EXECUTE FUNCTION "note_validator_of_message"();--> statement-breakpoint
CREATE TRIGGER "oracle_shares_counted_anew" AFTER UPDATE OF revision ON "oracle_shares" FOR EACH ROW WHEN ((OLD.revision) IS DISTINCT FROM (NEW.revision)) EXECUTE FUNCTION "note_validator_of_message"();--> statement-breakpoint
CREATE TRIGGER "erasure_clocks_counted_in" AFTER INSERT ON "erasure_clocks" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_rows"();--> statement-breakpoint
CREATE TRIGGER "erasure_clocks_counted_out" AFTER DELETE ON "erasure_clocks" REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION "note_validators_of_rows"();--> statement-breakpoint
CREATE TRIGGER "erasure_clocks_counted_anew" AFTER UPDATE ON "erasure_clocks" FOR EACH ROW EXECUTE FUNCTION "note_validator_of_row"();--> statement-breakpoint
INSERT INTO "validator_changes" ("validator_id") SELECT "id" FROM "validators";
