CREATE TABLE "status_snapshots" (
	"id" integer PRIMARY KEY NOT NULL,
	"content" jsonb NOT NULL,
	"revision" bigint DEFAULT 1 NOT NULL,
	"written_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "status_snapshots_one" CHECK ("status_snapshots"."id" = 1)
);
--> statement-breakpoint
ALTER TABLE "nodes_seen" ADD COLUMN "online_since" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "nodes_seen" ADD COLUMN "gone_at" timestamp with time zone;--> statement-breakpoint
CREATE INDEX "messages_not_ready" ON "messages" USING btree ("id") WHERE "messages"."state" = 'collecting';