/** The nonces that oracles and nodes have used in the requests they sign, each of them good once. One statement a function. */

import { sql } from 'drizzle-orm'
import type { Sql } from '../sql.ts'
import { bytesParam, NEED_NOT_LAST } from '../sql.ts'

/**
 * Uses up a nonce of a signer. Of all requests with it, in all processes, one is told true. It does not wait for the disk: a slow one would
 * keep every signed request, and a request that comes again after PostgreSQL has died does no harm (oracles read what is encrypted for them,
 * nodes hand in the same signatures).
 *
 * @param signer an Obol node's key (33 bytes), the SHA-256 of an SSV operator's key (32), an oracle's address (20)
 */
export async function takeNonce(db: Sql, signer: Uint8Array, nonce: Uint8Array): Promise<boolean> {
  const { rowCount } = await db.execute(sql`
    insert into request_nonces (signer, nonce) select ${bytesParam(signer)}, ${bytesParam(nonce)} where ${NEED_NOT_LAST}
    on conflict do nothing`)
  return rowCount === 1
}

/** Forgets nonces older than `seconds`, at most `limit` at once; returns how many. */
export async function deleteNonces(db: Sql, seconds: number, limit: number): Promise<number> {
  const { rowCount } = await db.execute(sql`
    with old as (select signer, nonce from request_nonces where seen_at < now() - make_interval(secs => ${seconds}::float8)
                 order by seen_at limit ${limit} for update skip locked)
    delete from request_nonces n using old where n.signer = old.signer and n.nonce = old.nonce`)
  return rowCount ?? 0
}
