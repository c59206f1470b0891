/** What `doctor` finds of the token: whom the relayer takes us for, held against the keys that are here. */

import { createRelayerClient } from '@dvt-relayer/api/client.ts'
import type { Whoami } from '@dvt-relayer/api/schemas.ts'
import type { Authenticate } from '@dvt-relayer/client/authentication.ts'
import { parseAnswer } from '@dvt-relayer/common/http/client.ts'
import type { SidecarConfig } from '../config.ts'
import type { Finding } from '../findings.ts'
import { doubtsOf, type Held } from '../lists/introduction.ts'
import { findRelayer, openRelayer } from '../lists/relayer-http.ts'

/** Older relayers do not have the answer, and nobody waits long for it. */
const WAIT_MS = 5_000
const ANSWER = { maxBytes: 4 * 1024 * 1024, maxValues: 100_000 }

/** What the relayer says; undefined where it says nothing, as older ones do: what else is wrong with it is found by other questions. */
export async function askWhoami(
  { relayer }: SidecarConfig,
  sign: Authenticate | undefined,
  signal: AbortSignal,
): Promise<Whoami | undefined> {
  const client = createRelayerClient(async (asked) => {
    const ask = await openRelayer(await findRelayer(relayer), sign, ANSWER)
    return parseAnswer(await ask(asked))
  })
  return client.getWhoami(AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)])).catch(() => undefined)
}

/** What keys there are, as the finding of the keys has it. */
export function heldOf({ ssv }: Pick<SidecarConfig, 'ssv'>, { facts }: Finding): Held {
  const rows = (name: string) => (Array.isArray(facts[name]) ? facts[name] : [])
  return {
    shareIndexes: rows('holders').map(({ share_index: index }) => Number(index)),
    lockHashes: rows('clusters').map(({ lock_hash: hash }) => String(hash)),
    isSsv: ssv !== undefined,
  }
}

/** The finding of the relayer with what it says of us, where it says it. */
export function withWhoami(relayer: Finding, who: Whoami | undefined, held: Held): Finding {
  if (who === undefined) return relayer
  const doubts = doubtsOf(who, held)
  // Older relayers do not say it.
  const identity = who.identity === undefined ? {} : { identity: who.identity }
  const facts = { ...relayer.facts, version: who.version, token: who.name, role: who.role, ...identity }
  const details = [...relayer.details, ...doubts]
  // A relayer that cannot be used is not made better by that.
  const message = relayer.status === 'problem' ? relayer.message : `${relayer.message}; ${takenFor(who)}`
  return { ...relayer, message, status: doubts.length > 0 ? 'problem' : relayer.status, details, facts }
}

const BY: Readonly<Record<NonNullable<Whoami['identity']>, string>> = {
  token: 'its token',
  node_key: "charon's key",
  operator_key: "the SSV operator's key",
  oracle_key: "an oracle's key",
}

/** Whom the relayer takes us for, and by what it knows. */
function takenFor({ name, role, identity }: Whoami): string {
  const by = identity === undefined || identity === null ? '' : `, by ${BY[identity]}`
  return `it takes us for ${name ?? 'anybody'} (${role})${by}`
}
