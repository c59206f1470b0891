/**
 * How much is searched among candidates that nobody can verify: attempts that a message, and all messages of one requester, may use. Who
 * invents candidates makes searches long, never others wait for long.
 *
 * What has been tried whole is tried again only when something new came. What is too much to be tried whole is tried on for ever, a part of
 * it chosen anew by chance each time: enough right candidates are found, however many are invented around them, sooner or later.
 */

/** Attempts of one search: every choice of the largest usual cluster, so none is begun that could not try them all. */
export const SEARCH_ATTEMPTS = 1000
/** Attempts at once, and each second; of some milliseconds each. */
const OF_MESSAGE = { burst: 2 * SEARCH_ATTEMPTS, perSecond: 20 }
const OF_REQUESTER = { burst: 20 * SEARCH_ATTEMPTS, perSecond: 100 }
/** Messages and requesters that are remembered; forgotten ones begin anew. */
const REMEMBERED = 10_000

interface Bucket {
  tokens: number
  at: number
}

/** Buckets by key; those not used for longest are forgotten. */
function createBuckets<K>({ burst, perSecond }: { burst: number; perSecond: number }) {
  const buckets = new Map<K, Bucket>()
  /** What the bucket holds now. */
  function refill(key: K, now: number): Bucket {
    const { tokens, at } = buckets.get(key) ?? { tokens: burst, at: now }
    const bucket = { tokens: Math.min(burst, tokens + ((now - at) / 1000) * perSecond), at: now }
    buckets.delete(key)
    buckets.set(key, bucket)
    const [oldest] = buckets.keys()
    if (buckets.size > REMEMBERED && oldest !== undefined) buckets.delete(oldest)
    return bucket
  }
  return {
    left: (key: K, now: number): number => refill(key, now).tokens,
    spend(key: K, count: number, now: number): void {
      refill(key, now).tokens -= count
    },
  }
}

/** A message that is searched: who asks for it, and a digest of the candidates and hints there are. */
export interface Searched {
  messageId: number
  requester: string | null
  among: string
}

/** Creates the budget of one process. Times are milliseconds of one monotonic clock. */
export function createSearchBudget() {
  const ofMessage = createBuckets<number>(OF_MESSAGE)
  const ofRequester = createBuckets<string | null>(OF_REQUESTER)
  /** Of messages, what was tried whole in vain. */
  const tried = new Map<number, string>()

  return {
    /** Whether all of it was tried before. */
    isTried: ({ messageId, among }: Searched): boolean => tried.get(messageId) === among,
    /** Whether a search may begin. */
    isFree: ({ messageId, requester }: Searched, now: number): boolean =>
      Math.min(ofMessage.left(messageId, now), ofRequester.left(requester, now)) >= SEARCH_ATTEMPTS,
    /** A search began. */
    began({ messageId, requester }: Searched, now: number): void {
      ofMessage.spend(messageId, SEARCH_ATTEMPTS, now)
      ofRequester.spend(requester, SEARCH_ATTEMPTS, now)
    },
    /** All was tried, in vain. */
    triedAll({ messageId, among }: Searched): void {
      tried.delete(messageId)
      tried.set(messageId, among)
      const [oldest] = tried.keys()
      if (tried.size > REMEMBERED && oldest !== undefined) tried.delete(oldest)
    },
  }
}
