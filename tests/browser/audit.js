// What the tests of pages ask of the page itself; evaluated to an object of functions.
(() => {
  const all = (root = document.body) =>
    [...root.querySelectorAll("*")].flatMap(e => (e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e]))
  const parent = e => e.parentElement ?? e.getRootNode().host
  const named = e => `${e.tagName.toLowerCase()} "${(e.ariaLabel || e.value || e.textContent || "").trim().slice(0, 60)}"`
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true })

  // Any CSS colour as [red, green, blue, opacity].
  function levels(colour) {
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = colour
    canvas.fillRect(0, 0, 1, 1)
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data
    return [red, green, blue, alpha / 255]
  }
  const over = ([r, g, b, a], ground) => [r, g, b].map((level, n) => a * level + (1 - a) * ground[n])

  // The colour behind an element's middle; null where a picture is.
  function ground(e) {
    const layers = []
    const { left, top, width, height } = e.getBoundingClientRect()
    for (let at = e; at; at = parent(at)) {
      const style = getComputedStyle(at)
      const box = at.getBoundingClientRect()
      const under = box.left <= left + width / 2 && box.right >= left + width / 2
      if (at !== document.body && !(under && box.top <= top + height / 2 && box.bottom >= top + height / 2)) continue
      if (style.backgroundImage !== "none") return null
      layers.unshift(levels(style.backgroundColor))
    }
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255])
  }
  function opacity(e) {
    let share = 1
    for (let at = e; at; at = parent(at)) share *= getComputedStyle(at).opacity
    return share
  }
  function luminance(colour) {
    const [r, g, b] = colour.map(level => {
      const share = level / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  function shown(e) {
    const { width, height } = e.getBoundingClientRect()
    return width > 1 && height > 1 && e.checkVisibility({ visibilityProperty: true, opacityProperty: true })
  }
  const letters = e => [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && /[\p{L}\p{N}]/u.test(n.data))
  const hidden = e => e.closest("[data-testid=stIconMaterial], .katex-mathml, script, style, noscript, title, option")
  const disabled = e => e.closest(":disabled, [aria-disabled=true], [data-disabled=true]")

  // Text with less than 4.5 times the contrast to what is behind it, or 3 times if it is large.
  function faint() {
    const found = []
    for (const e of all()) {
      if (!letters(e) || hidden(e) || disabled(e) || !shown(e)) continue
      const style = getComputedStyle(e)
      const behind = ground(e instanceof SVGElement ? e.ownerSVGElement.parentElement : e)
      if (!behind) continue
      const [r, g, b, a] = levels(e instanceof SVGElement ? style.fill : style.color)
      const [one, other] = [luminance(over([r, g, b, a * opacity(e)], behind)), luminance(behind)]
      const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)
      const size = parseFloat(style.fontSize)
      const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700)
      if (ratio < (large ? 3 : 4.5)) found.push(`${named(e)}: ${ratio.toFixed(2)}`)
    }
    return found
  }

  // What is cut off: letters with an ellipsis, a page that scrolls sideways, what lies beyond the window's edge.
  function cut() {
    const found = []
    const scrolls = e => ["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX)
    for (const e of [document.documentElement, document.querySelector("[data-testid=stMain]")])
      if (e.scrollWidth > e.clientWidth) found.push(`${named(e)} scrolls by ${e.scrollWidth - e.clientWidth} px`)
    for (const e of all(document.querySelector("[data-testid=stMain]"))) {
      if (!shown(e) || hidden(e)) continue
      const short = e.scrollWidth > e.clientWidth + 1
      if (short && getComputedStyle(e).textOverflow === "ellipsis") found.push(`${named(e)} ends in an ellipsis`)
      if (short && e.matches("input:not([type=range], [type=file])") && e.value) found.push(`${named(e)} is longer`)
      if (!e.matches("img, button, input, p, .frame")) continue
      let clipped = parent(e)
      while (clipped && !clipped.matches("[data-testid=stMain]") && !scrolls(clipped)) clipped = parent(clipped)
      const inside = clipped?.matches("[data-testid=stMain]")
      if (inside && e.getBoundingClientRect().right > innerWidth + 1) found.push(`${named(e)} is beyond the edge`)
    }
    return found
  }

  // What shows that an element has the focus: its frame and ground, and those of what is around and in it.
  function look(e) {
    const looks = []
    for (let at = e, n = 0; at && n < 4; at = parent(at), n++) looks.push(at)
    const styled = [...looks, e.nextElementSibling].filter(Boolean).map(at => getComputedStyle(at))
    return styled.map(s => [s.outlineStyle !== "none" && s.outlineWidth + s.outlineColor, s.boxShadow, s.borderColor])
  }
  const focused = () => {
    let e = document.activeElement
    while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement
    return e
  }
  const canHold = "a[href], button, input, select, textarea, summary, canvas, [tabindex='0'], [role=radiogroup]"
  const before = new Map()
  const hosted = e => e.getRootNode().host ?? e
  const follows = (e, first) => first.compareDocumentPosition(hosted(e)) & Node.DOCUMENT_POSITION_FOLLOWING
  let reached, start, last

  // What the keyboard must reach from an element on: of chips, of radio buttons and of a table's canvases one.
  function remember(first) {
    first.focus()
    start = first
    reached = new Set([first])
    before.clear()
    for (const e of all()) {
      if (!e.matches(canHold) || disabled(e) || e.closest("[inert]")) continue
      if (!follows(e, first)) continue
      before.set(e, JSON.stringify(look(e)))
    }
  }
  // After a press of Tab: what has the focus, and what is wrong with that; null where it has gone back to the beginning.
  function step() {
    const e = focused()
    if (e === document.body || !(e === start || follows(e, start))) return null
    const again = reached.has(e) && !e.closest("[data-testid=stDataFrame]")
    reached.add(e)
    if (!again && !e.matches("[data-testid=stCode] button")) last = e // that button may be gone when it is asked for
    const wrong = []
    const free = e.matches("main, canvas") || e.closest("[data-testid=stDataFrame]") // a table frames its cell itself
    if (!free && before.get(e) === JSON.stringify(look(e))) wrong.push("does not show that it has the focus")
    const { top, bottom, width } = e.getBoundingClientRect()
    if (!e.matches("main") && width > 1 && (bottom < 0 || top > innerHeight)) wrong.push("is out of sight")
    const within = kind => Boolean(e.closest(`[data-testid=${kind}]`))
    return { name: named(e), wrong, again, table: within("stDataFrame"), code: within("stCode") }
  }
  // Goes on behind the last element, where what followed it was taken away while it had the focus.
  function resume() {
    const behind = e => last.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING && !last.contains(e)
    const next = all().find(e => e.matches(canHold) && e.tabIndex >= 0 && !disabled(e) && shown(e) && behind(e))
    next?.focus()
    return next ? step() : null
  }
  function missed() {
    const group = e => e.closest("[data-testid=stButtonGroup], [role=radiogroup], [data-testid=stDataFrame]")
    const groups = new Set([...reached].map(group).filter(Boolean))
    return [...before.keys()]
      .filter(e => e.isConnected && shown(e) && !reached.has(e) && !groups.has(group(e)) && e.tabIndex >= 0)
      .filter(e => !e.matches("[role=radiogroup]") && !e.closest("[aria-hidden=true]"))
      .map(named)
  }
  // Resolves once nothing has come or gone for a moment, as links do where a window grows: the focus would go with them.
  const still = () => new Promise(resolve => {
    let timer
    const wait = () => { clearTimeout(timer); timer = setTimeout(end, 200) }
    const watcher = new MutationObserver(wait)
    const end = () => { watcher.disconnect(); resolve() }
    watcher.observe(document.body, { childList: true, subtree: true })
    wait()
  })
  return { faint, cut, still, remember, step, resume, missed }
})()
