CREATE TABLE "node_keys" (
	"cluster_id" bigint NOT NULL,
	"share_index" bigint NOT NULL,
	"public_key" "bytea" NOT NULL,
	"is_hash_known" boolean NOT NULL,
	CONSTRAINT "node_keys_cluster_id_share_index_pk" PRIMARY KEY("cluster_id","share_index"),
	CONSTRAINT "node_keys_public_key_length" CHECK (octet_length("node_keys"."public_key") = 33),
	CONSTRAINT "node_keys_share_index_positive" CHECK ("node_keys"."share_index" >= 1)
);
--> statement-breakpoint
CREATE TABLE "operator_keys" (
	"operator_id" bigint PRIMARY KEY NOT NULL,
	"public_key" "bytea" NOT NULL
);
--> statement-breakpoint
CREATE TABLE "request_nonces" (
	"signer" "bytea" NOT NULL,
	"nonce" "bytea" NOT NULL,
	"seen_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "request_nonces_signer_nonce_pk" PRIMARY KEY("signer","nonce"),
	CONSTRAINT "request_nonces_signer_length" CHECK (octet_length("request_nonces"."signer") in (32, 33)),
	CONSTRAINT "request_nonces_nonce_length" CHECK (octet_length("request_nonces"."nonce") between 16 and 32)
);
--> statement-breakpoint
ALTER TABLE "node_keys" ADD CONSTRAINT "node_keys_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "public"."clusters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "request_nonces_seen" ON "request_nonces" USING btree ("seen_at");