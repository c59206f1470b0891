CREATE TABLE "message_keys" (
	"message_id" bigint PRIMARY KEY NOT NULL,
	"sealed" "bytea" NOT NULL
);
--> statement-breakpoint
CREATE TABLE "oracle_nonces" (
	"oracle" "bytea" NOT NULL,
	"nonce" "bytea" NOT NULL,
	"seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "oracle_nonces_oracle_nonce_pk" PRIMARY KEY("oracle","nonce"),
	CONSTRAINT "oracle_nonces_oracle_length" CHECK (octet_length("oracle_nonces"."oracle") = 20),
	CONSTRAINT "oracle_nonces_nonce_length" CHECK (octet_length("oracle_nonces"."nonce") between 16 and 32)
);
--> statement-breakpoint
CREATE TABLE "owner_copies" (
	"message_id" bigint PRIMARY KEY NOT NULL,
	"vault" "bytea" NOT NULL,
	"owner_public_key" "bytea" NOT NULL,
	"ciphertext" "bytea" NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "owner_copies_vault_length" CHECK (octet_length("owner_copies"."vault") = 20),
	CONSTRAINT "owner_copies_owner_public_key_length" CHECK (octet_length("owner_copies"."owner_public_key") = 65)
);
--> statement-breakpoint
CREATE TABLE "rotation_messages" (
	"rotation_id" bigint NOT NULL,
	"place" integer NOT NULL,
	"message_id" bigint NOT NULL,
	CONSTRAINT "rotation_messages_rotation_id_place_pk" PRIMARY KEY("rotation_id","place")
);
--> statement-breakpoint
CREATE TABLE "rotations" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"vault" "bytea" NOT NULL,
	"oracle_set_id" bigint NOT NULL,
	"nonce" bigint NOT NULL,
	"state" text NOT NULL,
	"ipfs_hash" text,
	"transaction_hash" "bytea",
	"transaction" "bytea",
	"deadline" bigint,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp with time zone,
	CONSTRAINT "rotations_vault_length" CHECK (octet_length("rotations"."vault") = 20),
	CONSTRAINT "rotations_transaction_hash_length" CHECK (octet_length("rotations"."transaction_hash") = 32),
	CONSTRAINT "rotations_transaction_whole" CHECK (num_nulls("rotations"."transaction_hash", "rotations"."transaction", "rotations"."deadline") in (0, 3))
);
--> statement-breakpoint
ALTER TABLE "oracle_sets" DROP CONSTRAINT "oracle_sets_cid_unique";--> statement-breakpoint
ALTER TABLE "oracle_sets" ADD COLUMN "announced_at" timestamp with time zone;--> statement-breakpoint
UPDATE "oracle_sets" SET "announced_at" = "adopted_at";--> statement-breakpoint
ALTER TABLE "oracle_sets" ALTER COLUMN "announced_at" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "oracle_shares" ADD COLUMN "receipt" "bytea";--> statement-breakpoint
ALTER TABLE "oracle_shares" ADD COLUMN "revision" bigint;--> statement-breakpoint
UPDATE "oracle_shares" s SET "revision" = m."revision", "receipt" = sha256(
	'dvt-relayer/oracle-shares/v1'::bytea || v."public_key" || int8send(m."epoch") || int8send(m."validator_index") || m."signing_root"
	|| int4send(o."threshold") || int4send(octet_length(o."public_keys") / 65) || o."public_keys" || s."public_key_shares" || s."ciphertexts")
FROM "messages" m, "validators" v, "oracle_sets" o
WHERE m."id" = s."message_id" AND v."id" = m."validator_id" AND o."id" = s."oracle_set_id";--> statement-breakpoint
ALTER TABLE "oracle_shares" ALTER COLUMN "receipt" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "oracle_shares" ALTER COLUMN "revision" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "validators" ADD COLUMN "beacon_index" bigint;--> statement-breakpoint
ALTER TABLE "validators" ADD COLUMN "beacon_vault" "bytea";--> statement-breakpoint
ALTER TABLE "validators" ADD COLUMN "registered_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "validators" ADD COLUMN "exited_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "validators" ADD COLUMN "oracle_set_id" bigint;--> statement-breakpoint
ALTER TABLE "message_keys" ADD CONSTRAINT "message_keys_message_id_messages_id_fk" FOREIGN KEY ("message_id") REFERENCES "public"."messages"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "owner_copies" ADD CONSTRAINT "owner_copies_message_id_messages_id_fk" FOREIGN KEY ("message_id") REFERENCES "public"."messages"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "rotation_messages" ADD CONSTRAINT "rotation_messages_rotation_id_rotations_id_fk" FOREIGN KEY ("rotation_id") REFERENCES "public"."rotations"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "rotation_messages" ADD CONSTRAINT "rotation_messages_message_id_messages_id_fk" FOREIGN KEY ("message_id") REFERENCES "public"."messages"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "rotations" ADD CONSTRAINT "rotations_oracle_set_id_oracle_sets_id_fk" FOREIGN KEY ("oracle_set_id") REFERENCES "public"."oracle_sets"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "oracle_nonces_seen" ON "oracle_nonces" USING btree ("seen_at");--> statement-breakpoint
CREATE INDEX "owner_copies_vault" ON "owner_copies" USING btree ("vault","message_id");--> statement-breakpoint
CREATE UNIQUE INDEX "rotation_messages_once" ON "rotation_messages" USING btree ("rotation_id","message_id");--> statement-breakpoint
CREATE UNIQUE INDEX "rotations_one_open" ON "rotations" USING btree ("vault") WHERE "rotations"."state" = 'open';--> statement-breakpoint
ALTER TABLE "validators" ADD CONSTRAINT "validators_oracle_set_id_oracle_sets_id_fk" FOREIGN KEY ("oracle_set_id") REFERENCES "public"."oracle_sets"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "oracle_shares_revision" ON "oracle_shares" USING btree ("oracle_set_id","revision","message_id");--> statement-breakpoint
CREATE INDEX "validators_registered" ON "validators" USING btree ("beacon_vault","beacon_index") WHERE "validators"."registered_at" is not null;--> statement-breakpoint
ALTER TABLE "oracle_shares" ADD CONSTRAINT "oracle_shares_receipt_length" CHECK (octet_length("oracle_shares"."receipt") = 32);--> statement-breakpoint
ALTER TABLE "validators" ADD CONSTRAINT "validators_beacon_vault_length" CHECK (octet_length("validators"."beacon_vault") = 20);--> statement-breakpoint
ALTER TABLE "validators" ADD CONSTRAINT "validators_registered_whole" CHECK (num_nulls("validators"."beacon_index", "validators"."registered_at") in (0, 2));