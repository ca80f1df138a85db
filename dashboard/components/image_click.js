// A point is a whole pixel [x, y] of the picture. A box is [left, top, right, bottom], half-open, in its pixels.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
const LAST_STEP = 65534 // of a value's range; the next one stands for no value
const pictures = new WeakMap()

// Streamlit calls this whenever the data or the theme changes; the picture outlives the calls.
export default function ({ data, parentElement, setTriggerValue }) {
  const frame = parentElement.querySelector(".frame")
  if (!pictures.has(frame)) pictures.set(frame, new Picture(frame))
  pictures.get(frame).update(data, setTriggerValue)
}

class Picture {
  pointer = null // the pixel under the pointer, or where the arrow keys have led
  released = null // where the pointer was let go: more exact than the click that follows
  pressed = null // where a drag began
  dragged = false // so that the click that follows is none; a finger makes no such click
  pending = [] // clicks that Python has not answered yet, oldest first

  constructor(frame) {
    this.frame = frame
    this.image = frame.querySelector("img")
    this.svg = frame.querySelector("svg")
    this.boxes = frame.querySelector(".boxes")
    this.marks = frame.querySelector(".marks")
    this.labels = frame.querySelector(".labels")
    this.tip = frame.querySelector(".tip")
    this.spoken = frame.querySelector(".spoken")
    frame.onpointermove = event => this.point(this.pixel(event))
    frame.onpointerleave = event => this.leave(event)
    frame.onblur = () => this.point(null)
    frame.onpointerdown = event => this.press(event)
    frame.onpointerup = event => this.release(event)
    frame.onpointercancel = () => (this.pressed = null)
    frame.onclick = event => (this.dragged ? (this.dragged = false) : this.click(this.released ?? this.pixel(event)))
    frame.onkeydown = event => this.key(event)
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
    this.frame.ariaLabel = `${data.alt}. Arrow keys move, Enter selects.`
    this.frame.classList.toggle("dragged", Boolean(data.drags))
    this.frame.classList.toggle("whole", Boolean(data.whole))
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`)
    this.image.alt = data.alt
    if (this.image.src !== data.image) this.image.src = data.image
    this.drawBoxes()
    this.drawMarks()
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

  click([x, y], to = null) {
    this.released = null
    const id = Math.max(Date.now(), (this.pending.at(-1)?.id ?? 0) + 1)
    this.pending.push({ x, y, id, to })
    this.send("click", this.pending) // all of them: Streamlit passes on only the last of quick events
    this.drawMarks()
  }

  // A finger that taps does not move: down and up tell where it points, as moving does.
  press(event) {
    this.dragged = false
    if (event.isPrimary) this.point(this.pixel(event))
    if (!this.data.drags || !event.isPrimary) return
    this.frame.setPointerCapture(event.pointerId)
    this.pressed = this.pixel(event)
  }

  release(event) {
    const [from, to] = [this.pressed, this.pixel(event)]
    this.pressed = null
    this.released = to
    this.dragged = Boolean(from) && from.every((edge, axis) => Math.abs(edge - to[axis]) > 2)
    if (event.isPrimary) this.point(to)
    if (this.dragged) this.click(from, to)
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

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return
    const { grid, selected, size } = this.data
    const from = this.pointer ?? selected ?? size.map(length => length >> 1)
    if (event.key in ARROWS) {
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
    } else if (event.key === "Enter" || event.key === " ") {
      this.click(grid ? this.centre(this.cell(from)) : from)
    } else return
    event.preventDefault()
  }

  drawBoxes() {
    const shown = this.frame.getBoundingClientRect()
    this.image.classList.toggle("sharp", shown.width > 2 * this.data.size[0])
    this.boxes.replaceChildren()
    this.labels.replaceChildren()
    for (const { box, colour, width, dashed, label } of this.data.boxes) {
      this.boxes.append(...line(rectangle(box), width, { stroke: colour, strokeDasharray: dashed ? "5 4" : "" }))
      if (label) this.labels.append(this.label(box, colour, label, shown.height))
    }
  }

  drawMarks() {
    const { grid, selected, size } = this.data
    const click = this.pending.findLast(each => !each.to)
    const marked = click ? [click.x, click.y] : selected
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
    const [across, down] = [(x + 0.5) / size[0], (y + 0.5) / size[1]]
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
