CREATE INDEX "manager_signatures_signed" ON "manager_signatures" USING btree ("signed_at");--> statement-breakpoint
CREATE FUNCTION "refuse_delete"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('dvt_relayer.prune', true) IS DISTINCT FROM TG_TABLE_NAME::text THEN
		RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
	END IF;
	RETURN NULL;
END $$;--> statement-breakpoint
CREATE FUNCTION "refuse_young_delete"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF OLD.signed_at > now() - interval '365 days' THEN
		RAISE EXCEPTION 'rows of % are never changed, nor deleted within a year', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
	END IF;
	RETURN OLD;
END $$;--> statement-breakpoint
DROP TRIGGER "manager_signatures_append_only" ON "manager_signatures";--> statement-breakpoint
CREATE TRIGGER "manager_signatures_append_only" BEFORE UPDATE OR TRUNCATE ON "manager_signatures" FOR EACH STATEMENT EXECUTE FUNCTION "refuse_change"();--> statement-breakpoint
CREATE TRIGGER "manager_signatures_prune_only" BEFORE DELETE ON "manager_signatures" FOR EACH STATEMENT EXECUTE FUNCTION "refuse_delete"();--> statement-breakpoint
CREATE TRIGGER "manager_signatures_kept_a_year" BEFORE DELETE ON "manager_signatures" FOR EACH ROW EXECUTE FUNCTION "refuse_young_delete"();
