CREATE TABLE "deposit_blocks" (
	"validator_id" bigint PRIMARY KEY NOT NULL,
	"block_number" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "erasure_clocks" (
	"validator_id" bigint PRIMARY KEY NOT NULL,
	"beacon_index" bigint NOT NULL,
	"withdrawal_credentials" "bytea" NOT NULL,
	"deposit_block" bigint NOT NULL,
	"oracle_set_id" bigint,
	"held_since" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "erasure_clocks_withdrawal_credentials_length" CHECK (octet_length("erasure_clocks"."withdrawal_credentials") = 32)
);
--> statement-breakpoint
ALTER TABLE "deposit_blocks" ADD CONSTRAINT "deposit_blocks_validator_id_validators_id_fk" FOREIGN KEY ("validator_id") REFERENCES "public"."validators"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "erasure_clocks" ADD CONSTRAINT "erasure_clocks_validator_id_validators_id_fk" FOREIGN KEY ("validator_id") REFERENCES "public"."validators"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "erasure_clocks" ADD CONSTRAINT "erasure_clocks_oracle_set_id_oracle_sets_id_fk" FOREIGN KEY ("oracle_set_id") REFERENCES "public"."oracle_sets"("id") ON DELETE no action ON UPDATE no action;