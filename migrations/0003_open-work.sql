DROP INDEX "messages_live";--> statement-breakpoint
CREATE INDEX "messages_idle" ON "messages" USING btree ("requested_at") WHERE "messages"."state" in ('collecting', 'ready');--> statement-breakpoint
CREATE INDEX "messages_queued" ON "messages" USING btree ("queued_at") WHERE "messages"."queued_at" is not null and "messages"."state" in ('collecting', 'ready');--> statement-breakpoint
CREATE INDEX "validators_unregistered" ON "validators" USING btree ("id") WHERE "validators"."registered_at" is null;--> statement-breakpoint
CREATE INDEX "messages_live" ON "messages" USING btree ("id","kind","state") WHERE "messages"."state" in ('collecting', 'ready');