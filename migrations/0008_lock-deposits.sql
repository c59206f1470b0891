CREATE TABLE "lock_deposits" (
	"validator_id" bigint NOT NULL,
	"vault" "bytea" NOT NULL,
	"validator_type" text NOT NULL,
	"amount_gwei" bigint NOT NULL,
	"signature" "bytea" NOT NULL,
	CONSTRAINT "lock_deposits_validator_id_vault_validator_type_amount_gwei_pk" PRIMARY KEY("validator_id","vault","validator_type","amount_gwei"),
	CONSTRAINT "lock_deposits_vault_length" CHECK (octet_length("lock_deposits"."vault") = 20),
	CONSTRAINT "lock_deposits_amount_positive" CHECK ("lock_deposits"."amount_gwei" > 0),
	CONSTRAINT "lock_deposits_signature_length" CHECK (octet_length("lock_deposits"."signature") = 96)
);
--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "deposits_read_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "lock_deposits" ADD CONSTRAINT "lock_deposits_validator_id_validators_id_fk" FOREIGN KEY ("validator_id") REFERENCES "public"."validators"("id") ON DELETE no action ON UPDATE no action;