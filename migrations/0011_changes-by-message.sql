DROP INDEX "messages_revision";--> statement-breakpoint
CREATE INDEX "messages_revision" ON "messages" USING btree ("revision","id");