ALTER TABLE "validators" ADD COLUMN "listed_vault" "bytea";--> statement-breakpoint
ALTER TABLE "validators" ADD COLUMN "is_held" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "validators" ADD CONSTRAINT "validators_listed_vault_length" CHECK (octet_length("validators"."listed_vault") = 20);--> statement-breakpoint
-- Bindings that nothing proves: made while the deposit that is there now was collected, by candidates that nobody has verified to this day.
DELETE FROM "deposit_bindings" b USING "messages" m
WHERE m."validator_id" = b."validator_id" AND m."kind" = 'deposit' AND m."vault" = b."vault" AND m."state" IN ('collecting', 'expired')
	AND m."signature" IS NULL AND b."bound_at" > m."created_at"
	AND NOT EXISTS (SELECT FROM "key_shares" k WHERE k."validator_id" = b."validator_id")
	AND EXISTS (SELECT FROM "partial_signatures" p WHERE p."message_id" = m."id" AND p."state" = 'unverified')
	AND NOT EXISTS (SELECT FROM "partial_signatures" p WHERE p."message_id" = m."id" AND p."state" = 'verified');--> statement-breakpoint
-- Who asks is a vault, not the name of a token: the exit of a key whose deposit the same token asked for, then the deposit.
UPDATE "messages" e SET "requester" = 'vault:0x' || encode(d."vault", 'hex') FROM "messages" d
WHERE d."validator_id" = e."validator_id" AND d."kind" = 'deposit' AND e."kind" = 'exit' AND d."requester" = e."requester"
	AND e."requester" NOT LIKE '%:%' AND d."state" IN ('collecting', 'ready', 'expired') AND e."state" IN ('collecting', 'ready', 'expired');--> statement-breakpoint
UPDATE "messages" SET "requester" = 'vault:0x' || encode("vault", 'hex')
WHERE "kind" = 'deposit' AND "requester" NOT LIKE '%:%' AND "state" IN ('collecting', 'ready', 'expired');
