CREATE SEQUENCE "public"."message_revision" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;--> statement-breakpoint
CREATE TABLE "checkpoints" (
	"name" text PRIMARY KEY NOT NULL,
	"value" jsonb NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "clusters" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"lock_hash" "bytea",
	"name" text NOT NULL,
	"threshold" integer NOT NULL,
	"imported_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "clusters_lock_hash_unique" UNIQUE("lock_hash")
);
--> statement-breakpoint
CREATE TABLE "key_shares" (
	"validator_id" bigint NOT NULL,
	"share_index" bigint NOT NULL,
	"public_key_share" "bytea" NOT NULL,
	"source" text NOT NULL,
	CONSTRAINT "key_shares_validator_id_share_index_pk" PRIMARY KEY("validator_id","share_index"),
	CONSTRAINT "key_shares_public_key_share_length" CHECK (octet_length("key_shares"."public_key_share") = 48),
	CONSTRAINT "key_shares_share_index_positive" CHECK ("key_shares"."share_index" >= 1)
);
--> statement-breakpoint
CREATE TABLE "messages" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"validator_id" bigint NOT NULL,
	"kind" text NOT NULL,
	"validator_index" bigint NOT NULL,
	"epoch" bigint NOT NULL,
	"signing_root" "bytea" NOT NULL,
	"threshold" integer NOT NULL,
	"state" text NOT NULL,
	"requester" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"requested_at" timestamp with time zone DEFAULT now() NOT NULL,
	"queued_at" timestamp with time zone,
	"failed_attempts" integer DEFAULT 0 NOT NULL,
	"revision" bigint DEFAULT 0 NOT NULL,
	"signature" "bytea",
	"ready_at" timestamp with time zone,
	CONSTRAINT "messages_signing_root_length" CHECK (octet_length("messages"."signing_root") = 32),
	CONSTRAINT "messages_ready_has_signature" CHECK ("messages"."state" <> 'ready' or "messages"."signature" is not null)
);
--> statement-breakpoint
CREATE TABLE "oracle_sets" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"cid" text NOT NULL,
	"threshold" integer NOT NULL,
	"public_keys" "bytea" NOT NULL,
	"config" jsonb NOT NULL,
	"block_number" bigint NOT NULL,
	"is_current" boolean DEFAULT false NOT NULL,
	"adopted_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "oracle_sets_cid_unique" UNIQUE("cid"),
	CONSTRAINT "oracle_sets_public_keys_length" CHECK (octet_length("oracle_sets"."public_keys") % 65 = 0)
);
--> statement-breakpoint
CREATE TABLE "oracle_shares" (
	"message_id" bigint NOT NULL,
	"oracle_set_id" bigint NOT NULL,
	"public_key_shares" "bytea" NOT NULL,
	"ciphertexts" "bytea" NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "oracle_shares_message_id_oracle_set_id_pk" PRIMARY KEY("message_id","oracle_set_id"),
	CONSTRAINT "oracle_shares_lengths" CHECK (octet_length("oracle_shares"."public_key_shares") % 48 = 0 and octet_length("oracle_shares"."ciphertexts") = octet_length("oracle_shares"."public_key_shares") / 48 * 193)
);
--> statement-breakpoint
CREATE TABLE "partial_signatures" (
	"message_id" bigint NOT NULL,
	"share_index" bigint NOT NULL,
	"digest" "bytea" NOT NULL,
	"sealed" "bytea",
	"state" text NOT NULL,
	"seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "partial_signatures_message_id_share_index_digest_pk" PRIMARY KEY("message_id","share_index","digest"),
	CONSTRAINT "partial_signatures_share_index_positive" CHECK ("partial_signatures"."share_index" >= 1),
	CONSTRAINT "partial_signatures_rejected_is_gone" CHECK (("partial_signatures"."state" = 'rejected') = ("partial_signatures"."sealed" is null))
);
--> statement-breakpoint
CREATE TABLE "sealing_checks" (
	"id" integer PRIMARY KEY NOT NULL,
	"sealed" "bytea" NOT NULL,
	CONSTRAINT "sealing_checks_one" CHECK ("sealing_checks"."id" = 1)
);
--> statement-breakpoint
CREATE TABLE "validators" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"public_key" "bytea" NOT NULL,
	"cluster_id" bigint,
	"place" integer,
	"withdrawal_address" "bytea",
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "validators_public_key_unique" UNIQUE("public_key"),
	CONSTRAINT "validators_public_key_length" CHECK (octet_length("validators"."public_key") = 48),
	CONSTRAINT "validators_withdrawal_address_length" CHECK (octet_length("validators"."withdrawal_address") = 20)
);
--> statement-breakpoint
ALTER TABLE "key_shares" ADD CONSTRAINT "key_shares_validator_id_validators_id_fk" FOREIGN KEY ("validator_id") REFERENCES "public"."validators"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_validator_id_validators_id_fk" FOREIGN KEY ("validator_id") REFERENCES "public"."validators"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "oracle_shares" ADD CONSTRAINT "oracle_shares_message_id_messages_id_fk" FOREIGN KEY ("message_id") REFERENCES "public"."messages"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "oracle_shares" ADD CONSTRAINT "oracle_shares_oracle_set_id_oracle_sets_id_fk" FOREIGN KEY ("oracle_set_id") REFERENCES "public"."oracle_sets"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "partial_signatures" ADD CONSTRAINT "partial_signatures_message_id_messages_id_fk" FOREIGN KEY ("message_id") REFERENCES "public"."messages"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "validators" ADD CONSTRAINT "validators_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "public"."clusters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "messages_one_live" ON "messages" USING btree ("validator_id","kind") WHERE "messages"."state" in ('collecting', 'ready');--> statement-breakpoint
CREATE INDEX "messages_validator" ON "messages" USING btree ("validator_id");--> statement-breakpoint
CREATE INDEX "messages_revision" ON "messages" USING btree ("revision");--> statement-breakpoint
CREATE INDEX "messages_live" ON "messages" USING btree ("state") WHERE "messages"."state" in ('collecting', 'ready');--> statement-breakpoint
CREATE UNIQUE INDEX "oracle_sets_one_current" ON "oracle_sets" USING btree ("is_current") WHERE "oracle_sets"."is_current";--> statement-breakpoint
CREATE UNIQUE INDEX "partial_signatures_one_verified" ON "partial_signatures" USING btree ("message_id","share_index") WHERE "partial_signatures"."state" = 'verified';--> statement-breakpoint
CREATE INDEX "partial_signatures_unverified" ON "partial_signatures" USING btree ("seen_at") WHERE "partial_signatures"."state" = 'unverified';--> statement-breakpoint
CREATE INDEX "validators_cluster" ON "validators" USING btree ("cluster_id");