CREATE TABLE "share_counts" (
	"share_index" bigint PRIMARY KEY NOT NULL,
	"verified" bigint NOT NULL,
	"rejected" bigint NOT NULL,
	CONSTRAINT "share_counts_share_index_positive" CHECK ("share_counts"."share_index" >= 1)
);
--> statement-breakpoint
CREATE INDEX "messages_collecting" ON "messages" USING btree ("kind","created_at") WHERE "messages"."state" = 'collecting';