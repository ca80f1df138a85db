// A place is a whole pixel [x, y] of the picture. A box is [left, top, right, bottom], half-open, in its pixels. Points
// that lie on it are of the page's: they may be dragged, and a click near one is a click on it.

const ZOOMS = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 1e-6 }
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
const LAST_STEP = 65534 // of a value's range; the next one stands for no value
const REACH_PX = { mouse: 9, touch: 22 } // of the screen: nearer to a point is on it
const SETTLED_MS = 250 // after the last arrow key the place is a click
const pictures = new WeakMap()

// Streamlit calls this whenever the data or the theme changes; the picture outlives the calls.
export default function ({ data, parentElement, setTriggerValue }) {
  const frame = parentElement.querySelector(".frame")
  if (!pictures.has(frame)) pictures.set(frame, new Picture(frame))
  const picture = pictures.get(frame)
  picture.update(data, setTriggerValue)
  return () => picture.view.join("") // once it is taken away
}

class Picture {
  pointer = null // the pixel under the pointer, or where the arrow keys have led
  released = null // where the pointer was let go: more exact than the click that follows
  pressed = null // where a drag began
  held = null // the number of the point that is dragged
  touches = new Map() // where fingers, or the mouse with its button down, are on the screen
  step = null // where arrow keys have led a point that follows them, until that is a click
  panned = false // whether they move the picture, and click nothing
  dragged = false // so that the click that follows is none; a finger makes no such click
  pending = [] // clicks that Python has not answered yet, oldest first

  constructor(frame) {
    this.frame = frame
    this.stage = frame.querySelector(".stage")
    this.image = frame.querySelector("img")
    this.svg = frame.querySelector("svg")
    this.boxes = frame.querySelector(".boxes")
    this.marks = frame.querySelector(".marks")
    this.points = frame.querySelector(".points")
    this.labels = frame.querySelector(".labels")
    this.tip = frame.querySelector(".tip")
    this.spoken = frame.querySelector(".spoken")
    this.all = frame.querySelector(".all")
    this.view = new View(frame, this.stage, () => this.redraw())
    this.all.onclick = event => (event.stopPropagation(), this.view.move({ scale: 1, left: 0, top: 0 }))
    frame.onpointermove = event => this.moved(event)
    frame.onpointerleave = event => this.leave(event)
    frame.onblur = () => this.blur()
    frame.onpointerdown = event => this.press(event)
    frame.onpointerup = event => this.release(event)
    frame.onpointercancel = event => this.cancel(event)
    frame.onclick = event => (this.dragged ? (this.dragged = false) : this.click(this.released ?? this.pixel(event)))
    frame.onkeydown = event => this.key(event)
    frame.addEventListener("wheel", event => this.wheel(event), { passive: false })
    frame.addEventListener("touchmove", event => this.gesture(event), { passive: false })
    new ResizeObserver(() => this.drawBoxes()).observe(frame)
  }

  update(data, send) {
    const [width, height] = data.size
    if (data.values?.steps !== this.data?.values?.steps) this.steps = decoded(data.values?.steps)
    this.data = data
    this.send = send
    this.pending = this.pending.filter(click => click.id > data.answered)
    this.frame.style.setProperty("--ratio", width / height)
    this.frame.style.setProperty("--max-height", `${data.maxHeight ?? 1e6}px`)
    const keys = data.follows ? "Arrow keys move the point" : "Arrow keys move, Enter selects"
    this.frame.ariaLabel = `${data.alt}. ${keys}${data.zoom ? ", plus and minus zoom" : ""}.`
    this.frame.classList.toggle("dragged", Boolean(data.drags))
    this.frame.classList.toggle("whole", Boolean(data.whole))
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`)
    this.image.alt = data.alt
    if (this.image.src !== data.image) this.image.src = data.image
    this.view.join(data.zoom)
    this.redraw()
  }

  redraw() {
    if (!this.data) return
    const { scale } = this.view
    this.all.hidden = scale === 1
    this.all.textContent = `${scale.toFixed(1)} times: show all`
    this.drawBoxes()
    this.drawPoints()
    this.drawMarks()
    this.drawTip()
  }

  pixel(event) {
    const { left, top, width, height } = this.image.getBoundingClientRect()
    return this.inside([
      Math.floor(((event.clientX - left) / width) * this.data.size[0]),
      Math.floor(((event.clientY - top) / height) * this.data.size[1]),
    ])
  }

  inside([x, y]) {
    const [width, height] = this.data.size
    return [clamp(x, width), clamp(y, height)]
  }

  // The cell whose centre is nearest, its patch, and the pixel nearest to its centre: as corrcore.geometry has them.
  cell([x, y]) {
    const [offsetX, offsetY, stride, columns, rows] = this.data.grid
    return [
      clamp(Math.floor((x - offsetX) / stride + 0.5), columns),
      clamp(Math.floor((y - offsetY) / stride + 0.5), rows),
    ]
  }

  patch([column, row]) {
    const [offsetX, offsetY, stride] = this.data.grid
    const left = Math.ceil(offsetX + stride * (column - 0.5))
    const top = Math.ceil(offsetY + stride * (row - 0.5))
    return [left, top, left + stride, top + stride]
  }

  centre([column, row]) {
    const [offsetX, offsetY, stride] = this.data.grid
    return this.inside([Math.ceil(offsetX + stride * column - 0.5), Math.ceil(offsetY + stride * row - 0.5)])
  }

  // What is asked of Python: a click, a rectangle from there `to` a pixel, or that the point of a number moves there.
  click([x, y], { to = null, point = null } = {}) {
    this.released = this.step = null
    clearTimeout(this.settling)
    const id = Math.max(Date.now(), (this.pending.at(-1)?.id ?? 0) + 1)
    this.pending.push({ x, y, id, to, point })
    this.send("click", this.pending) // all of them: Streamlit passes on only the last of quick events
    this.drawPoints()
    this.drawMarks()
  }

  // A finger that taps does not move: down and up tell where it points, as moving does. Two fingers zoom.
  press(event) {
    if (event.button > 0 || event.target === this.all) return
    if (event.isPrimary) this.touches.clear()
    this.touches.set(event.pointerId, [event.clientX, event.clientY])
    this.dragged = this.panned = !event.isPrimary && Boolean(this.data.zoom)
    if (!event.isPrimary) return (this.pressed = this.held = null)
    this.point(this.pixel(event))
    this.held = this.near(event, each => each.moves)
    if (!this.data.drags && this.held === null && this.view.scale === 1) return
    this.frame.setPointerCapture(event.pointerId)
    if (this.data.drags && !event.shiftKey) this.pressed = this.pixel(event)
  }

  // What would else scroll or enlarge the page.
  gesture(event) {
    if (this.held !== null || (this.data.zoom && event.touches.length > 1)) event.preventDefault()
  }

  moved(event) {
    const before = event.buttons ? this.touches.get(event.pointerId) : null
    if (before && this.data.zoom) this.pan(event, before)
    if (this.panned) return this.point(null)
    if (event.isPrimary) this.point(this.pixel(event))
    if (this.held !== null) this.drawPoints()
  }

  // One finger, or the mouse, moves an enlarged picture; two enlarge it by how far they go apart.
  pan(event, before) {
    const now = [event.clientX, event.clientY]
    const { left, top, width, height } = this.frame.getBoundingClientRect()
    const other = [...this.touches].find(([id]) => id !== event.pointerId)?.[1]
    if (other) {
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]
      const place = [(middle[0] - left) / width, (middle[1] - top) / height]
      this.view.zoom(distance(now, other) / Math.max(distance(before, other), 1), place)
      this.view.pan([(now[0] - before[0]) / 2 / width, (now[1] - before[1]) / 2 / height])
    } else {
      if (this.view.scale === 1 || this.pressed || this.held !== null) return
      if (!this.panned && distance(now, before) < 4) return
      this.panned = this.dragged = true
      this.frame.classList.add("panned")
      this.view.pan([(now[0] - before[0]) / width, (now[1] - before[1]) / height])
    }
    this.touches.set(event.pointerId, now)
  }

  release(event) {
    if (!this.touches.delete(event.pointerId) && event.pointerType === "touch") return
    const [from, held, panned, to] = [this.pressed, this.held, this.panned, this.pixel(event)]
    this.pressed = this.held = null
    if (!this.touches.size) this.endPan()
    if (panned) return
    const apart = start => start.some((edge, axis) => Math.abs(edge - to[axis]) > 2)
    const near = this.near(event)
    this.released = near === null ? to : this.data.points[near].at.map(Math.round)
    this.dragged = Boolean(from) && from.every((edge, axis) => Math.abs(edge - to[axis]) > 2)
    if (event.isPrimary) this.point(to)
    if (held !== null && apart(this.data.points[held].at)) {
      this.dragged = true
      this.click(to, { point: held })
    } else if (this.dragged) this.click(from, { to })
    else this.drawPoints()
  }

  cancel(event) {
    this.touches.delete(event.pointerId)
    this.pressed = this.held = null
    if (!this.touches.size) this.endPan()
    this.redraw()
  }

  endPan() {
    this.panned = false
    this.frame.classList.remove("panned")
  }

  // The number of the point under a pointer, if there is one that is asked for.
  near(event, asked = () => true) {
    const { left, top, width, height } = this.image.getBoundingClientRect()
    const [x, y] = [event.clientX - left, event.clientY - top]
    const reach = REACH_PX[event.pointerType] ?? REACH_PX.mouse
    const apart = this.data.points.map(({ at }) =>
      distance([x, y], [((at[0] + 0.5) / this.data.size[0]) * width, ((at[1] + 0.5) / this.data.size[1]) * height]),
    )
    const found = apart
      .map((far, number) => [far, number])
      .filter(([far, number]) => far <= reach && asked(this.data.points[number]))
    return found.length ? found.sort((one, other) => one[0] - other[0])[0][1] : null
  }

  // A picture takes the wheel once it was clicked, or with Ctrl, as touchpads pinch; where it is whole the page scrolls.
  wheel(event) {
    if (!this.data.zoom || !(event.ctrlKey || this.frame.matches(":focus"))) return
    const { left, top, width, height } = this.frame.getBoundingClientRect()
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1
    const factor = 2 ** ((-event.deltaY * lines) / (event.ctrlKey ? 100 : 400))
    const moved = this.view.zoom(factor, [(event.clientX - left) / width, (event.clientY - top) / height])
    if (moved || event.ctrlKey) event.preventDefault()
    if (moved) this.point(this.pixel(event))
  }

  // A finger leaves with every tap: what it pointed at is told until it taps elsewhere.
  leave(event) {
    if (event.pointerType !== "touch" || !this.data.values) this.point(null)
  }

  point(pixel) {
    this.pointer = pixel
    this.drawMarks()
    this.drawTip()
  }

  // A step that has not settled yet is not lost.
  blur() {
    if (this.step) this.click(this.step)
    this.point(null)
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target === this.all) return
    const { grid, size, follows, zoom } = this.data
    const from = (follows ? (this.step ?? this.selected()) : (this.pointer ?? this.selected())) ?? size.map(length => length >> 1)
    if (zoom && event.key in ZOOMS) {
      const [x, y] = from.map((at, axis) => (at + 0.5) / size[axis])
      this.view.zoom(ZOOMS[event.key], this.view.placed([x, y]).map(share => Math.min(Math.max(share, 0), 1)))
    } else if (event.key in ARROWS) {
      const [dx, dy] = ARROWS[event.key]
      if (grid) {
        const [column, row] = this.cell(from)
        const next = [clamp(column + dx, grid[3]), clamp(row + dy, grid[4])]
        this.point(this.centre(next))
        this.spoken.textContent = `column ${next[0]}, row ${next[1]}`
      } else {
        const step = event.shiftKey ? 10 : 1
        this.point(this.inside([from[0] + dx * step, from[1] + dy * step]))
        this.spoken.textContent = this.data.values ? this.tip.textContent : `x ${this.pointer[0]}, y ${this.pointer[1]}`
      }
      this.view.reveal(this.pointer.map((at, axis) => (at + 0.5) / size[axis]))
      clearTimeout(this.settling)
      if (follows) {
        const step = (this.step = this.pointer)
        this.settling = setTimeout(() => this.click(step), SETTLED_MS)
      }
    } else if (event.key === "Enter" || event.key === " ") {
      this.click(grid ? this.centre(this.cell(from)) : from)
    } else return
    event.preventDefault()
  }

  drawBoxes() {
    const shown = this.stage.getBoundingClientRect()
    this.image.classList.toggle("sharp", shown.width > 2 * this.data.size[0])
    this.boxes.replaceChildren()
    this.labels.replaceChildren()
    for (const { box, colour, width, dashed, label } of this.data.boxes) {
      this.boxes.append(...line(rectangle(box), width, { stroke: colour, strokeDasharray: dashed ? "5 4" : "" }))
      if (label) this.labels.append(this.label(box, colour, label, shown.height))
    }
  }

  drawPoints() {
    this.points.replaceChildren(
      ...this.data.points.map(({ at, label, colour, ring, chosen }, number) => {
        const moved = this.pending.findLast(click => click.point === number)
        const [x, y] = this.held === number && this.pointer ? this.pointer : moved ? [moved.x, moved.y] : at
        const element = document.createElement("div")
        const across = (x + 0.5) / this.data.size[0]
        element.className = "point"
        element.classList.toggle("ring", ring)
        element.classList.toggle("chosen", chosen)
        element.classList.toggle("leftwards", across > 0.6)
        element.style.left = `${100 * across}%`
        element.style.top = `${(100 * (y + 0.5)) / this.data.size[1]}%`
        if (colour) element.style.setProperty("--colour", colour)
        if (label) element.append(Object.assign(document.createElement("span"), { textContent: label }))
        return element
      }),
    )
  }

  // The last click that Python has not answered yet.
  asked() {
    return this.pending.findLast(each => !each.to && each.point === null)
  }

  // The pixel that is selected, or is about to be.
  selected() {
    const click = this.asked()
    return click ? [click.x, click.y] : this.data.selected
  }

  drawMarks() {
    const { grid, size } = this.data
    const click = this.asked()
    const marked = this.selected()
    this.marks.replaceChildren()
    if (marked && !this.data.whole) {
      const path = grid ? rectangle(this.patch(this.cell(marked))) : `M${marked[0] + 0.5} ${marked[1] + 0.5}h0`
      this.marks.append(...line(path, grid ? 3 : 9, { strokeDasharray: grid && click ? "2 5" : "" }))
    }
    if (this.pressed && this.pointer) {
      const [from, to] = [this.pressed, this.pointer]
      const [left, top] = from.map((edge, axis) => Math.min(edge, to[axis]))
      const [right, bottom] = from.map((edge, axis) => Math.max(edge, to[axis]) + 1)
      this.marks.append(...line(rectangle([left, top, right, bottom]), 2, { strokeDasharray: "5 4" }))
    } else if (this.pointer && !this.data.whole) {
      const [x, y] = this.pointer
      const cross = `M0 ${y + 0.5}H${size[0]}M${x + 0.5} 0V${size[1]}`
      this.marks.append(...line(grid ? rectangle(this.patch(this.cell(this.pointer))) : cross, 1.5))
    }
  }

  // A pixel by its own numbers, or by where it lies in what the picture is a part of.
  told(pixel) {
    const { places, size } = this.data
    if (!places) return pixel
    return pixel.map((at, axis) => {
      const share = (at + 0.5) / size[axis]
      return Math.round(places[axis] + share * (places[axis + 2] - places[axis]))
    })
  }

  // The pixel under the pointer and its value, on the side of it where there is room.
  drawTip() {
    const { values, size } = this.data
    this.tip.textContent = ""
    if (!values || !this.pointer) return
    const [x, y] = this.pointer
    const step = this.steps[y * size[0] + x]
    const value = values.low + (step / LAST_STEP) * (values.high - values.low)
    const [toldX, toldY] = this.told([x, y])
    this.tip.textContent = `x ${toldX}, y ${toldY}: ${step > LAST_STEP ? "none" : value.toFixed(values.digits)}`
    const [across, down] = this.view.placed([(x + 0.5) / size[0], (y + 0.5) / size[1]])
    this.tip.style.inset = "auto"
    this.tip.style[across < 0.5 ? "left" : "right"] = `calc(${100 * Math.min(across, 1 - across)}% + 10px)`
    this.tip.style[down < 0.5 ? "top" : "bottom"] = `calc(${100 * Math.min(down, 1 - down)}% + 10px)`
  }

  // Above the box's left corner, or inside the box where there is no room above; at its right corner near the right.
  label([left, top, right], colour, text, shownHeight) {
    const [width, height] = this.data.size
    const element = document.createElement("span")
    element.textContent = text
    if (colour) element.style.borderColor = colour
    if ((top / height) * shownHeight >= 20) element.style.bottom = `${100 * (1 - top / height)}%`
    else element.style.top = `${(100 * Math.max(top, 0)) / height}%`
    if (left < 0.6 * width) element.style.left = `${(100 * Math.max(left, 0)) / width}%`
    else element.style.right = `${100 * Math.max(1 - right / width, 0)}%`
    return element
  }
}

function decoded(text) {
  if (!text) return null
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0))
  return new Uint16Array(bytes.buffer)
}

function distance([x, y], [otherX, otherY]) {
  return Math.hypot(x - otherX, y - otherY)
}

function clamp(value, count) {
  return Math.min(Math.max(value, 0), count - 1)
}

function rectangle([left, top, right, bottom]) {
  return `M${left} ${top}H${right}V${bottom}H${left}Z`
}

// A line over a wider white one: it stands out on any photo.
function line(path, width, style = {}) {
  return ["halo", "line"].map(layer => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "path")
    element.setAttribute("d", path)
    element.setAttribute("class", layer)
    if (layer === "line") Object.assign(element.style, style)
    element.style.strokeWidth = `${layer === "line" ? width : width + 2}px`
    return element
  })
}
