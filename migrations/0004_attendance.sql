CREATE TABLE "nodes_seen" (
	"token_name" text NOT NULL,
	"share_index" bigint NOT NULL,
	"seen_at" timestamp with time zone NOT NULL,
	"listed_at" timestamp with time zone,
	"posted_at" timestamp with time zone,
	"refused_at" timestamp with time zone,
	"refusal_code" text,
	"software" text,
	"version" text,
	"clock_difference_seconds" integer,
	CONSTRAINT "nodes_seen_token_name_share_index_pk" PRIMARY KEY("token_name","share_index"),
	CONSTRAINT "nodes_seen_share_index_not_negative" CHECK ("nodes_seen"."share_index" >= 0),
	CONSTRAINT "nodes_seen_refusal_whole" CHECK (num_nulls("nodes_seen"."refused_at", "nodes_seen"."refusal_code") in (0, 2))
);
--> statement-breakpoint
CREATE TABLE "processes" (
	"id" text PRIMARY KEY NOT NULL,
	"role" text NOT NULL,
	"version" text NOT NULL,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL,
	"beat_at" timestamp with time zone DEFAULT now() NOT NULL,
	"stopped_at" timestamp with time zone
);
