CREATE TABLE "deposit_bindings" (
	"validator_id" bigint PRIMARY KEY NOT NULL,
	"vault" "bytea" NOT NULL,
	"bound_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "deposit_bindings_vault_length" CHECK (octet_length("deposit_bindings"."vault") = 20)
);
--> statement-breakpoint
CREATE TABLE "key_share_hints" (
	"validator_id" bigint NOT NULL,
	"share_index" bigint NOT NULL,
	"shares" "bytea" NOT NULL,
	"seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "key_share_hints_validator_id_share_index_pk" PRIMARY KEY("validator_id","share_index"),
	CONSTRAINT "key_share_hints_length" CHECK (octet_length("key_share_hints"."shares") % 56 = 0)
);
--> statement-breakpoint
CREATE TABLE "manager_signatures" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"action" text NOT NULL,
	"vault" "bytea" NOT NULL,
	"requester" text NOT NULL,
	"registry_root" "bytea" NOT NULL,
	"validators" "bytea" NOT NULL,
	"validator_count" integer NOT NULL,
	"amount_gwei" numeric(30, 0) NOT NULL,
	"digest" "bytea" NOT NULL,
	"signed_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "manager_signatures_digest_length" CHECK (octet_length("manager_signatures"."digest") = 32)
);
--> statement-breakpoint
CREATE TABLE "registry_validators" (
	"public_key" "bytea" PRIMARY KEY NOT NULL,
	"block_number" bigint NOT NULL,
	CONSTRAINT "registry_validators_public_key_length" CHECK (octet_length("registry_validators"."public_key") = 48)
);
--> statement-breakpoint
DROP INDEX "validators_cluster";--> statement-breakpoint
ALTER TABLE "messages" ALTER COLUMN "validator_index" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "messages" ALTER COLUMN "epoch" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "source" text DEFAULT 'lock' NOT NULL;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "vault" "bytea";--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "amount_gwei" bigint;--> statement-breakpoint
ALTER TABLE "messages" ADD COLUMN "validator_type" text;--> statement-breakpoint
ALTER TABLE "validators" ADD COLUMN "vault" "bytea";--> statement-breakpoint
ALTER TABLE "validators" ADD COLUMN "reserved_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "validators" ADD COLUMN "vault_asked_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "deposit_bindings" ADD CONSTRAINT "deposit_bindings_validator_id_validators_id_fk" FOREIGN KEY ("validator_id") REFERENCES "public"."validators"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "key_share_hints" ADD CONSTRAINT "key_share_hints_validator_id_validators_id_fk" FOREIGN KEY ("validator_id") REFERENCES "public"."validators"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "manager_signatures_once" ON "manager_signatures" USING btree ("digest","requester",(timezone('UTC', "signed_at")::date));--> statement-breakpoint
CREATE INDEX "manager_signatures_vault" ON "manager_signatures" USING btree ("vault","signed_at");--> statement-breakpoint
CREATE UNIQUE INDEX "clusters_one_list" ON "clusters" USING btree ("source") WHERE "clusters"."source" = 'list';--> statement-breakpoint
CREATE INDEX "messages_superseded" ON "messages" USING btree ("requested_at") WHERE "messages"."state" = 'superseded';--> statement-breakpoint
CREATE INDEX "validators_vault" ON "validators" USING btree ("vault");--> statement-breakpoint
CREATE INDEX "validators_cluster" ON "validators" USING btree ("cluster_id","place");--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_exit_whole" CHECK ("messages"."kind" <> 'exit' or num_nulls("messages"."validator_index", "messages"."epoch") = 0);--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_deposit_whole" CHECK ("messages"."kind" <> 'deposit' or (num_nulls("messages"."vault", "messages"."amount_gwei", "messages"."validator_type") = 0 and octet_length("messages"."vault") = 20 and "messages"."amount_gwei" > 0));--> statement-breakpoint
ALTER TABLE "validators" ADD CONSTRAINT "validators_vault_length" CHECK (octet_length("validators"."vault") = 20);--> statement-breakpoint
ALTER TABLE "validators" ADD CONSTRAINT "validators_reserved_whole" CHECK (num_nulls("validators"."vault", "validators"."reserved_at", "validators"."vault_asked_at") in (0, 3));
--> statement-breakpoint
CREATE FUNCTION "refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;--> statement-breakpoint
CREATE TRIGGER "manager_signatures_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "manager_signatures" FOR EACH STATEMENT EXECUTE FUNCTION "refuse_change"();
